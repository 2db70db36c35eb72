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
  type GradientTransformation,
  ravel,
  unravel,
} from "@prior-art/toolkit/optim";
import type { LearnedOptimizer, LearnedOptimizerParams, LearnedOptimizerState } from "./method.ts";
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
  /** Each gets as many of the pairs. */
  readonly tasks: readonly MetaTask<P>[];
  readonly optimizer: LearnedOptimizer;
  readonly metaSteps: number;
  /** σ of φ's perturbations, 0.01 by default. */
  readonly sigma?: number;
  /** N, antithetic pairs, 16 by default; a multiple of the number of tasks. */
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
  const { tasks, metaSteps, pairs, truncation, horizon, sigma, metaLearningRate } = options;
  for (const [name, value] of Object.entries({ metaSteps, pairs, truncation, horizon }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`metaTrain: ${name} must be a whole number of at least 1, got ${value}`);
  if (horizon % truncation !== 0)
    throw new RangeError(`metaTrain: the horizon ${horizon} is no multiple of the truncation ${truncation}`);
  if (tasks.length === 0 || pairs % tasks.length !== 0)
    throw new RangeError(`metaTrain: ${pairs} pairs can't be shared evenly by ${tasks.length} tasks`);
  if (!(sigma > 0 && metaLearningRate > 0))
    throw new RangeError("metaTrain: sigma and the learning rate must be positive");
}

/** The trainings of one task. */
function crewOf<P>(
  task: MetaTask<P>,
  toOptimizer: (vector: Tensor) => GradientTransformation<P, LearnedOptimizerState>,
) {
  const lossAndGradient = valueAndGrad((params: P, rows: Tensor) => task.loss(params, rows));
  const startMember = (key: Tensor, size: number) => {
    const params = task.init(key);
    return { params, state: toOptimizer(zeros([size])).init(params) };
  };
  type Member = ReturnType<typeof startMember>;
  return {
    /** Twice the same beginnings, `[2 pairs, …]`, for φ of `size` numbers. */
    startPairs(key: Tensor, pairs: number, size: number): Member {
      const half = vmap((each: Tensor) => startMember(each, size))(random.split(key, pairs));
      return treeMap((t) => concat([t, t]), half);
    },
    /** K steps of one training with one φ: where it gets, and its mean loss, each counted as no more than `cap`. */
    unroll(vector: Tensor, member: Member, rows: Tensor, cap: number): readonly [Member, Tensor] {
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
    },
  };
}

/** Flags `[n]` in a shape that broadcasts against `[n, …]`. */
const along = (flags: Tensor, t: Tensor): Tensor =>
  reshape(flags, [flags.size, ...t.shape.slice(1).map(() => 1)]);

/** ξ, the sum of a training's perturbations `[pairs, size]` since it began: those of trainings that are over start anew. */
export const accumulatedNoise = (xi: Tensor, over: Tensor, epsilon: Tensor): Tensor =>
  add(where(along(over, xi), 0, xi), epsilon);

const averageOf = (tensors: readonly Tensor[]): Tensor => mul(1 / tensors.length, tensors.reduce(add));

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
 * @throws RangeError when sizes are not whole and positive, the horizon is no multiple of the truncation, or the pairs are
 *   no multiple of the tasks.
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
  const { tasks, optimizer, metaSteps, sigma, pairs, truncation, horizon, metaLearningRate, cap } = options;
  const share = pairs / tasks.length;
  const shape = optimizer.init(random.key(0));
  const size = ravel(shape).size;
  const metaOptimizer = chain(
    clipByGlobalNorm<Tensor>(1),
    adamw<Tensor>({
      learningRate: cosineDecay(metaLearningRate, metaSteps, metaLearningRate / 3),
      weightDecay: 1e-4,
    }),
  );
  const crews = tasks.map((task) =>
    crewOf(task, (vector) =>
      optimizer.toOptimizer<P>(unravel(vector, shape), task.scale ? { scale: task.scale } : {}),
    ),
  );

  const start = (key: Tensor) => {
    const [phiKey, memberKey] = random.keys(key) as [Tensor, Tensor];
    const phi = ravel(optimizer.init(phiKey));
    return {
      phi,
      meta: metaOptimizer.init(phi),
      members: crews.map(({ startPairs }, i) => startPairs(random.fold(memberKey, i), share, size)),
      /** Steps of each task's pairs' trainings. */
      taken: tasks.map(() =>
        tensor(Float32Array.from({ length: share }, (_, i) => (i * truncation) % horizon)),
      ),
      xi: tasks.map(() => zeros([share, size])),
    };
  };
  type MetaState = ReturnType<typeof start>;

  const metaStep = (before: MetaState, key: Tensor): readonly [MetaState, Tensor] => {
    const parts = crews.map(({ startPairs, unroll }, i) => {
      const [noiseKey, startKey, dataKey] = random.keys(random.fold(key, i), 3) as [Tensor, Tensor, Tensor];
      const over = greaterEqual(before.taken[i]!, horizon);
      const both = concat([over, over]);
      const members = treeMap(
        (anew, old) => where(along(both, old), anew, old),
        startPairs(startKey, share, size),
        before.members[i]!,
      );
      const epsilon = mul(sigma, random.normal(noiseKey, [share, size]));
      const xi = accumulatedNoise(before.xi[i]!, over, epsilon);
      const { examples, batchSize } = tasks[i]!;
      const rows = random.randint(dataKey, [share, truncation, batchSize], 0, examples);
      const vectors = concat([add(before.phi, epsilon), sub(before.phi, epsilon)]);
      const [after, losses] = vmap((vector: Tensor, member: typeof members, batches: Tensor) =>
        unroll(vector, member, batches, cap),
      )(vectors, members, concat([rows, rows]));
      const [plus, minus] = split(losses, 2) as [Tensor, Tensor];
      const taken = add(where(over, 0, before.taken[i]!), truncation);
      return { after, xi, taken, gradient: persistentGradient(xi, plus, minus, sigma), loss: mean(losses) };
    });
    const gradient = averageOf(parts.map((part) => part.gradient));
    const [updates, meta] = metaOptimizer.update(gradient, before.meta, before.phi);
    const next = {
      phi: add(before.phi, updates as Tensor),
      meta,
      members: parts.map(({ after }) => after),
      taken: parts.map(({ taken }) => taken),
      xi: parts.map(({ xi }) => xi),
    };
    return [next, averageOf(parts.map(({ loss }) => loss))];
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
