import {
  add,
  concat,
  data,
  evaluate,
  isFinite as finite,
  greaterEqual,
  jit,
  mean,
  minimum,
  mul,
  random,
  reshape,
  scan,
  slice,
  split,
  sub,
  type Tensor,
  tensor,
  treeMap,
  valueAndGrad,
  vmap,
  where,
  zeros,
} from "@prior-art/tensor";
import {
  adamw,
  applyUpdates,
  chain,
  clipByGlobalNorm,
  cosineDecay,
  ravel,
  unravel,
} from "@prior-art/toolkit/optim";
import type { LearnedOptimizer, LearnedOptimizerParams } from "./method.ts";
import type { UpdateScale } from "./muParametrization.ts";

/** What a learned optimizer is trained to train. */
export interface MetaTask<P> {
  init(key: Tensor): P;
  /** Of the examples in `rows`, int32 `[batch]`. */
  loss(params: P, rows: Tensor): Tensor;
  readonly examples: number;
  readonly batchSize: number;
  readonly scale?: UpdateScale;
}

export interface MetaTrainOptions<P> {
  readonly task: MetaTask<P>;
  readonly optimizer: LearnedOptimizer;
  readonly metaSteps: number;
  /** σ of φ's perturbations, 0.01 by default. */
  readonly sigma?: number;
  /** N, antithetic pairs, 16 by default. */
  readonly pairs?: number;
  /** K, training steps a meta-step, 20 by default. */
  readonly truncation?: number;
  /** T, training steps until a training starts afresh, 200 by default; a multiple of K. */
  readonly horizon?: number;
  /** Of AdamW on φ, by half a cosine to a third of it; 3e-3 by default. */
  readonly metaLearningRate?: number;
  /** Losses count as no more than this; 3 log 10 by default. */
  readonly cap?: number;
}

/**
 * The gradient of persistent evolution strategies (Vicol et al., 2021), `Σᵢ ξᵢ (L⁺ᵢ - L⁻ᵢ) / 2Nσ²`: with ξ the sum of a
 * pair's perturbations since its training began, truncated trainings give no bias. Right at the beginning, it is that of
 * antithetic evolution strategies.
 * @param xi `[pairs, parameters]`
 * @param plus Losses with φ + ε, `[pairs]`; `minus` with φ - ε.
 * @returns `[parameters]`
 */
export function persistentGradient(xi: Tensor, plus: Tensor, minus: Tensor, sigma: number): Tensor {
  const weights = mul(1 / (2 * sigma * sigma), sub(plus, minus));
  return mean(mul(reshape(weights, [weights.size, 1]), xi), 0);
}

function requireMetaOptions<P>(options: Required<MetaTrainOptions<P>>): void {
  const { metaSteps, pairs, truncation, horizon, sigma, metaLearningRate } = options;
  for (const [name, value] of Object.entries({ metaSteps, pairs, truncation, horizon }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`metaTrain: ${name} must be a whole number of at least 1, got ${value}`);
  if (horizon % truncation !== 0)
    throw new RangeError(`metaTrain: the horizon ${horizon} is no multiple of the truncation ${truncation}`);
  if (!(sigma > 0 && metaLearningRate > 0))
    throw new RangeError("metaTrain: sigma and the learning rate must be positive");
}

/** Meta-steps in one run of the compiled loop. */
const CHUNK = 50;

export interface MetaTrained {
  /** φ of each key, each tensor `[keys, …]`. */
  readonly phi: LearnedOptimizerParams;
  /** Mean training loss of each meta-step, `[keys][metaSteps]`. */
  readonly losses: readonly (readonly number[])[];
}

/**
 * Meta-trains an optimizer from each of some keys, side by side: `N` antithetic pairs of trainings, `K` steps of each a
 * meta-step, AdamW on the persistent gradient clipped to 1. Trainings start at different points of the horizon.
 * @throws RangeError when sizes are not whole and positive, or the horizon is no multiple of the truncation.
 */
export async function metaTrain<P>(
  given: MetaTrainOptions<P>,
  keys: Tensor,
  onProgress?: (metaStep: number, loss: number) => void,
): Promise<MetaTrained> {
  const options: Required<MetaTrainOptions<P>> = {
    sigma: 0.01,
    pairs: 16,
    truncation: 20,
    horizon: 200,
    metaLearningRate: 3e-3,
    cap: 3 * Math.log(10),
    ...given,
  };
  requireMetaOptions(options);
  const { task, optimizer, metaSteps, sigma, pairs, truncation, horizon, metaLearningRate, cap } = options;
  const shape = optimizer.init(random.key(0));
  const size = ravel(shape).size;
  const toOptimizer = (vector: Tensor) =>
    optimizer.toOptimizer<P>(unravel(vector, shape), task.scale ? { scale: task.scale } : {});
  const metaOptimizer = chain(
    clipByGlobalNorm<Tensor>(1),
    adamw<Tensor>({
      learningRate: cosineDecay(metaLearningRate, metaSteps, metaLearningRate / 3),
      weightDecay: 1e-4,
    }),
  );
  const freshOptimizer = toOptimizer(zeros([size]));
  const startMember = (key: Tensor) => {
    const params = task.init(key);
    return { params, state: freshOptimizer.init(params) };
  };
  type Member = ReturnType<typeof startMember>;
  const lossAndGradient = valueAndGrad((params: P, rows: Tensor) => task.loss(params, rows));
  /** K steps of one training with one φ: where it gets, and its mean loss. */
  const unroll = (vector: Tensor, member: Member, rows: Tensor): readonly [Member, Tensor] => {
    const { update } = toOptimizer(vector);
    const [after, losses] = scan(
      ({ params, state }: Member, batch: Tensor) => {
        const [loss, gradient] = lossAndGradient(params, batch);
        const [updates, next] = update(gradient, state, params);
        return [{ params: applyUpdates(params, updates), state: next }, loss] as const;
      },
      member,
      rows,
    );
    return [after, mean(where(finite(losses), minimum(losses, cap), cap))];
  };

  const start = (key: Tensor) => {
    const [phiKey, memberKey] = random.keys(key) as [Tensor, Tensor];
    const phi = ravel(optimizer.init(phiKey));
    const half = vmap(startMember)(random.split(memberKey, pairs));
    return {
      phi,
      meta: metaOptimizer.init(phi),
      members: treeMap((t) => concat([t, t]), half),
      /** Steps of each pair's training. */
      taken: tensor(Float32Array.from({ length: pairs }, (_, i) => (i * truncation) % horizon)),
      xi: zeros([pairs, size]),
    };
  };
  type MetaState = ReturnType<typeof start>;

  const metaStep = (before: MetaState, key: Tensor): readonly [MetaState, Tensor] => {
    const [noiseKey, startKey, dataKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
    const over = greaterEqual(before.taken, horizon);
    const both = concat([over, over]);
    const half = vmap(startMember)(random.split(startKey, pairs));
    const fresh = treeMap((t) => concat([t, t]), half);
    const along = (flags: Tensor, t: Tensor): Tensor =>
      reshape(flags, [flags.size, ...t.shape.slice(1).map(() => 1)]);
    const members = treeMap((anew, old) => where(along(both, old), anew, old), fresh, before.members);
    const epsilon = mul(sigma, random.normal(noiseKey, [pairs, size]));
    const xi = add(where(along(over, before.xi), 0, before.xi), epsilon);
    const rows = random.randint(dataKey, [pairs, truncation, task.batchSize], 0, task.examples);
    const vectors = concat([add(before.phi, epsilon), sub(before.phi, epsilon)]);
    const [after, losses] = vmap(unroll)(vectors, members, concat([rows, rows]));
    const [plus, minus] = split(losses, 2) as [Tensor, Tensor];
    const gradient = persistentGradient(xi, plus, minus, sigma);
    const [updates, meta] = metaOptimizer.update(gradient, before.meta, before.phi);
    const taken = add(where(over, 0, before.taken), truncation);
    return [{ phi: add(before.phi, updates as Tensor), meta, members: after, taken, xi }, mean(losses)];
  };

  const count = keys.shape[0]!;
  const pairsOfKeys = vmap((key: Tensor) => {
    const [startKey, stepKey] = random.keys(key) as [Tensor, Tensor];
    return { startKey, stepKeys: random.split(stepKey, metaSteps) };
  })(keys);
  let state = vmap(start)(pairsOfKeys.startKey);
  await evaluate(state);
  const run = jit((from: MetaState, stepKeys: Tensor) =>
    vmap((s: MetaState, k: Tensor) => scan(metaStep, s, k))(from, stepKeys),
  );
  const losses = Array.from({ length: count }, (): number[] => []);
  for (let done = 0; done < metaSteps; ) {
    const until = Math.min(metaSteps, done + CHUNK);
    const [next, seen] = await run(state, slice(pairsOfKeys.stepKeys, null, [done, until]));
    state = next;
    const values = await dataRows(seen, until - done);
    values.forEach((row, i) => {
      losses[i]!.push(...row);
    });
    done = until;
    onProgress?.(done, losses.reduce((sum, row) => sum + row.at(-1)!, 0) / count);
  }
  await run.release();
  const phi = vmap((vector: Tensor) => unravel(vector, shape))(state.phi);
  await evaluate(phi);
  return { phi, losses };
}

async function dataRows(t: Tensor, columns: number): Promise<number[][]> {
  const values = [...(await data(t))];
  return Array.from({ length: values.length / columns }, (_, i) =>
    values.slice(i * columns, (i + 1) * columns),
  );
}
