import {
  add,
  arange,
  broadcastTo,
  cast,
  concat,
  data,
  equal,
  grad,
  jit,
  less,
  logicalAnd,
  mean,
  mul,
  random,
  reshape,
  scan,
  sin,
  slice,
  stack,
  sum,
  type Tensor,
  take,
  tensor,
  treeMap,
  vmap,
  where,
  zeros,
} from "@prior-art/tensor";
import { accuracy, crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  applyUpdates,
  chain,
  type GradientTransformation,
  momentum,
  shuffledBatches,
} from "@prior-art/toolkit/optim";
import { digitParts } from "../cells.ts";
import {
  aggregateWorkers,
  aggregators,
  attacks,
  type Faulty,
  type FlagOptions,
  flagAggregate,
} from "./method.ts";

export const WORKERS = 15;
const BATCH = 16;
const model = mlp({ sizes: [64, 64, 10] });

export const FLAGS = {
  flag8: { subspaceDim: 8 },
  flag4: { subspaceDim: 4 },
  flag1: { subspaceDim: 1 },
  flag8Pairs1: { subspaceDim: 8, lambda: 1 },
  flag8Pairs15: { subspaceDim: 8, lambda: WORKERS },
} as const satisfies Record<string, FlagOptions>;
export type FlagArm = keyof typeof FLAGS;

export type Arm =
  | "mean"
  | "median"
  | "trimmedMean"
  | "krum"
  | "multiKrum"
  | "bulyan"
  | "geometricMedian"
  | FlagArm;

const isFlag = (arm: Arm): arm is FlagArm => arm in FLAGS;

/** What Byzantine workers do; `augmented` ones send honest gradients of noisy, warped images. */
export const ATTACKS = ["uniformNoise", "signFlip", "littleIsEnough", "augmented"] as const;
export type AttackName = (typeof ATTACKS)[number];

export interface Scenario extends Readonly<Record<string, number>> {
  readonly rate: number;
  /** Index into `ATTACKS`. */
  readonly attack: number;
  /** Byzantine workers, which come first. */
  readonly faulty: number;
  /** How many of them the rule is built for. */
  readonly builtFor: number;
}

/** The rule of an arm; with the shares of the gradients that the subspace reconstructs where there is one. */
function ruleOf(arm: Arm, builtFor: Faulty) {
  let reconstruction: Tensor | undefined;
  const rule = (rows: Tensor): Tensor => {
    if (isFlag(arm)) {
      const result = flagAggregate(rows, FLAGS[arm]);
      reconstruction = result.reconstruction;
      return result.aggregate;
    }
    if (arm === "mean" || arm === "median" || arm === "geometricMedian") return aggregators[arm]()(rows);
    return aggregators[arm](builtFor)(rows);
  };
  return { rule, reconstructed: () => reconstruction ?? zeros([WORKERS]) };
}

/** Images with noise of deviation 1 and a wave along each row that depends on the pixel: what a bad augmentation does. */
const augment = (images: Tensor, noise: Tensor): Tensor =>
  add(sin(add(mul(3, images), mul(0.5, mul(images, images)))), noise);

const loss = (p: MlpParams, x: Tensor, labels: Tensor): Tensor => crossEntropy(model.apply(p, x), labels);

export interface ScenarioResult {
  readonly validationAccuracy: number;
  readonly validationLoss: number;
  readonly testAccuracy: number;
  /** v_i by worker, mean over the steps; zeros without a subspace. */
  readonly reconstruction: readonly number[];
}

/** Trains one rule in all scenarios side by side; yields the steps done. */
export async function* trainScenarios(
  arm: Arm,
  scenarios: readonly Scenario[],
  steps: number,
  seed: number,
): AsyncGenerator<{ step: number; loss: number }, ScenarioResult[]> {
  const examples = 960;
  const { train, validation, test } = await digitParts({ train: examples, validation: 300, test: 500, seed });
  const optimizerOf = (
    rate: Tensor,
    rule: (rows: Tensor) => Tensor,
  ): GradientTransformation<MlpParams, unknown> =>
    chain<MlpParams, GradientTransformation<MlpParams, unknown>[]>(
      aggregateWorkers(rule),
      momentum({ learningRate: rate }),
    );
  const names = ["rate", "attack", "faulty", "builtFor"] as const;
  type Cell = Readonly<Record<(typeof names)[number], Tensor>>;
  const cells = Object.fromEntries(
    names.map((name) => [name, tensor(Float32Array.from(scenarios, (s) => s[name]))]),
  ) as unknown as Cell;

  const trainOne = (
    { rate, attack, faulty, builtFor }: Cell,
    params: MlpParams,
    state: unknown,
    indices: Tensor,
    keys: Tensor,
  ) => {
    const is = (name: AttackName): Tensor => equal(attack, ATTACKS.indexOf(name));
    const bad = less(cast(arange(WORKERS), "float32"), faulty);
    return scan(
      ([p, s]: readonly [MlpParams, unknown], [rows, key]: readonly [Tensor, Tensor]) => {
        const [noiseKey, attackKey] = random.keys(key) as [Tensor, Tensor];
        const x = take(train.x, rows);
        const noise = random.normal(noiseKey, [WORKERS, BATCH, 64]);
        const warped = reshape(logicalAnd(bad, is("augmented")), [WORKERS, 1, 1]);
        const inputs = where(warped, augment(x, noise), x);
        const honest = vmap((images: Tensor, labels: Tensor) => grad(loss)(p, images, labels), {
          inAxes: [0, 0],
        })(inputs, take(train.labels, rows));
        const attacked = attackedTree(honest, faulty, attackKey, is);
        const { rule, reconstructed } = ruleOf(arm, builtFor);
        const [updates, next] = optimizerOf(rate, rule).update(attacked, s, p);
        return [[applyUpdates(p, updates), next] as const, reconstructed()] as const;
      },
      [params, state] as const,
      [indices, keys] as const,
    );
  };
  const run = jit(vmap(trainOne, { inAxes: [0, 0, 0, null, null] }));

  const start = model.init(random.key(seed));
  const spread = <T>(tree: T): T => treeMap((t) => broadcastTo(t, [scenarios.length, ...t.shape]), tree);
  let params = spread(start);
  let state: unknown = spread(optimizerOf(zeros([]), (rows) => mean(rows, 0)).init(start));
  let total: Tensor = zeros([scenarios.length, WORKERS]);
  const key = random.fold(random.key(seed), 1);
  const perEpoch = examples / (WORKERS * BATCH);
  const chunk = 50;
  try {
    for (let from = 0; from < steps; from += chunk) {
      const count = Math.min(chunk, steps - from);
      const orders = Array.from({ length: Math.ceil(count / perEpoch) }, (_, i) =>
        shuffledBatches(random.fold(key, from + i), examples, WORKERS * BATCH),
      );
      const indices = reshape(take(concat(orders), arange(count)), [count, WORKERS, BATCH]);
      const stepKeys = random.split(random.fold(key, 100_000 + from), count);
      const [[nextParams, nextState], shares] = await run(cells, params, state, indices, stepKeys);
      [params, state] = [nextParams, nextState];
      total = add(total, sum(shares, 1));
      await data(total);
      yield { step: from + count, loss: 0 };
    }
  } finally {
    await run.release();
  }
  const score = vmap((p: MlpParams) => {
    const known = model.apply(p, validation.x);
    return stack([
      accuracy(known, validation.labels),
      crossEntropy(known, validation.labels),
      accuracy(model.apply(p, test.x), test.labels),
    ]);
  });
  const [scores, shares] = [await data(score(params)), await data(total)];
  return scenarios.map((_, i) => ({
    validationAccuracy: scores[3 * i]!,
    validationLoss: scores[3 * i + 1]!,
    testAccuracy: scores[3 * i + 2]!,
    reconstruction: Array.from({ length: WORKERS }, (__, j) => shares[i * WORKERS + j]! / steps),
  }));
}

/** The workers' gradients as the server gets them. */
function attackedTree(
  honest: MlpParams,
  faulty: Tensor,
  key: Tensor,
  is: (name: AttackName) => Tensor,
): MlpParams {
  // One vector for each worker, since a worker's noise is as long as its whole gradient.
  const sizes: Tensor[] = [];
  treeMap((g) => {
    sizes.push(reshape(g, [WORKERS, g.size / WORKERS]));
    return g;
  }, honest);
  const rows = concat(sizes, 1);
  const changed = where(
    is("uniformNoise"),
    attacks.uniformNoise()(rows, faulty, key),
    where(
      is("signFlip"),
      attacks.signFlip()(rows, faulty, key),
      where(is("littleIsEnough"), attacks.littleIsEnough()(rows, faulty, key), rows),
    ),
  );
  let at = 0;
  return treeMap((g) => {
    const size = g.size / WORKERS;
    at += size;
    return reshape(columns(changed, at - size, at), g.shape);
  }, honest);
}

const columns = (t: Tensor, from: number, to: number): Tensor => slice(t, [0, t.shape[0]!], [from, to]);
