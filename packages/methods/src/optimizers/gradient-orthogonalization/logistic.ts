import {
  add,
  cast,
  data,
  evaluate,
  jit,
  linalg,
  logSoftmax,
  matmul,
  mul,
  random,
  scan,
  sub,
  type Tensor,
  take,
  valueAndGrad,
  zeros,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { iteratedSpectral } from "./geometry.ts";
import { trustRegionMomentum } from "./method.ts";

const [EXAMPLES, BATCH] = [500, 20];
export const [FEATURES, CLASSES] = [20, 5];

export interface Examples {
  /** `[500, 20]` */
  readonly inputs: Tensor;
  /** int32 `[500]` */
  readonly labels: Tensor;
}

/** 500 noisy examples of 20 features in 5 classes. */
export async function noisyExamples(seed: number): Promise<Examples> {
  const key = random.key(seed);
  const normal = (i: number, shape: readonly number[]): Tensor =>
    random.normal(random.fold(key, i), shape, { dtype: "float64" });
  const inputs = normal(0, [EXAMPLES, FEATURES]);
  const teacher = mul(0.7, normal(1, [FEATURES, CLASSES]));
  const logits = cast(logSoftmax(matmul(inputs, teacher)), "float32");
  const labels = random.categorical(random.fold(key, 2), logits);
  await evaluate({ inputs, labels });
  return { inputs, labels };
}

/** Softmax regression, convex, on those examples. */
export interface Regression extends Examples {
  readonly seed: number;
  /** F*, in nats. */
  readonly least: number;
  /** Largest singular value of the minimizer, the radius of the ball that it lies in. */
  readonly radius: number;
}

export async function regression(seed: number): Promise<Regression> {
  const { inputs, labels } = await noisyExamples(seed);
  const lossAndSlope = valueAndGrad((w: Tensor) => crossEntropy(matmul(inputs, w), labels));
  // Nesterov's method on the whole sample: the loss is smooth with constant λ₁(XᵀX/n)/2 < 2.
  const solve = jit((start: Tensor) => {
    const [[best]] = scan(
      ([w, before]: readonly [Tensor, Tensor]) => {
        const moved = sub(w, mul(0.5, lossAndSlope(w)[1]));
        return [[add(moved, mul(0.95, sub(moved, before))), moved] as const, null] as const;
      },
      [start, start] as const,
      null,
      { length: 1500 },
    );
    return { loss: lossAndSlope(best)[0], size: linalg.singularValues(best) };
  });
  const { loss, size } = await solve(zeros([FEATURES, CLASSES], "float64"));
  const [least, radius] = [(await data(loss))[0]!, (await data(size))[0]!];
  await solve.release();
  return { seed, inputs, labels, least, radius };
}

export interface RegressionRun {
  readonly steps: number;
  /** η */
  readonly radius: number;
  /** α */
  readonly momentum: number;
  /** β */
  readonly weightDecay: number;
}

/**
 * `F(x) - F*` in nats under steps of one length in the spectral norm, on batches of 20, from 0: means of twenty parts of the
 * run, so that one step's luck doesn't count.
 */
export async function functionGaps(
  { seed, inputs, labels, least }: Regression,
  { steps, ...options }: RegressionRun,
): Promise<number[]> {
  const optimizer = trustRegionMomentum<Tensor>({ norm: iteratedSpectral, ...options });
  type State = ReturnType<typeof optimizer.init>;
  const slope = valueAndGrad((w: Tensor, rows: Tensor) =>
    crossEntropy(matmul(take(inputs, rows), w), take(labels, rows)),
  );
  const run = jit((start: Tensor) => {
    const order = random.randint(random.fold(random.key(seed), 3), [steps, BATCH], 0, EXAMPLES);
    const [, losses] = scan(
      ([w, state]: readonly [Tensor, State], rows: Tensor) => {
        const [updates, next] = optimizer.update(slope(w, rows)[1], state, w);
        const after = add(w, updates);
        return [[after, next] as const, crossEntropy(matmul(inputs, after), labels)] as const;
      },
      [start, optimizer.init(start)] as const,
      order,
    );
    return losses;
  });
  const all = [...(await data(await run(zeros([FEATURES, CLASSES], "float64"))))];
  await run.release();
  const part = Math.floor(steps / 20);
  return Array.from({ length: 20 }, (_, i) => {
    const values = all.slice(i * part, (i + 1) * part);
    return values.reduce((a, b) => a + b) / values.length - least;
  });
}
