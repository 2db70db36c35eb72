import {
  add,
  concat,
  div,
  expandDims,
  mean,
  mul,
  reshape,
  rsqrt,
  square,
  sub,
  type Tensor,
  tanh,
  tensor,
  zeros,
} from "@prior-art/tensor";

/** Features of an entry of a tensor. */
const TENSOR_FEATURES = 28;
/** What the time features compare the step with. */
const TIME_SCALES = [1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5];
export const FEATURES = TENSOR_FEATURES + TIME_SCALES.length;

/** Keeps 1/√v finite. */
const LEAST_SQUARE = 1e-12;

/** Averages of a tensor's gradients; matrices are factored as Adafactor's, everything of one axis or less is not. */
export interface Accumulators {
  /** Of the gradient, `[3, rows, columns]` (`[3, entries]` for vectors). */
  readonly momenta: Tensor;
  /** Of its square, `[rows, columns]`. */
  readonly square: Tensor;
  /** Of the square's mean over columns, `[3, rows]`; of the square itself, `[3, entries]`, for vectors. */
  readonly rows: Tensor;
  /** Of the square's mean over rows, `[3, columns]`; nothing for vectors, `[3, 0]`. */
  readonly columns: Tensor;
}

/** Decay rates of the accumulators. */
export interface Decays {
  /** `[3]` */
  readonly momenta: Tensor;
  /** `[1]` */
  readonly square: Tensor;
  /** `[3]` */
  readonly factored: Tensor;
}

/** How a tensor is looked at: as it is up to one axis, else as a matrix of its first axis and the rest. */
export function viewShape(shape: readonly number[]): number[] {
  if (shape.length < 2) return [shape[0] ?? 1];
  return [shape[0]!, shape.slice(1).reduce((product, n) => product * n, 1)];
}

export function startAccumulators(view: readonly number[]): Accumulators {
  const [rows, columns] = view;
  return {
    momenta: zeros([3, ...view]),
    square: zeros([...view]),
    rows: zeros([3, rows!]),
    columns: zeros([3, columns ?? 0]),
  };
}

/** `decay · average + (1 - decay) · value`, for each of the decays `[n]`; averages are `[n, …]`. */
function averaged(decay: Tensor, average: Tensor, value: Tensor): Tensor {
  const own = reshape(decay, [decay.size, ...value.shape.map(() => 1)]);
  return add(mul(own, average), mul(sub(1, own), expandDims(value, 0)));
}

/** The accumulators with one more gradient, given as its view. */
export function accumulate(before: Accumulators, decays: Decays, gradient: Tensor): Accumulators {
  const squared = square(gradient);
  const isMatrix = gradient.rank === 2;
  return {
    momenta: averaged(decays.momenta, before.momenta, gradient),
    square: reshape(averaged(decays.square, expandDims(before.square, 0), squared), squared.shape),
    rows: averaged(decays.factored, before.rows, isMatrix ? mean(squared, 1) : squared),
    columns: isMatrix ? averaged(decays.factored, before.columns, mean(squared, 0)) : before.columns,
  };
}

/** Roots of the accumulators' inverses, `1/√(v + ε)`. */
const inverseRoot = (v: Tensor): Tensor => rsqrt(add(v, LEAST_SQUARE));

/** A tensor's features before they are divided by their root mean squares; those alike in a row or column are there once. */
export interface TensorFeatures {
  /**
   * `[16, ...view]`: gradient, value, three momenta, second moment, momenta over its root, its inverse root, and gradient
   * and momenta over the root of the factored second moment at three decays.
   */
  readonly entries: Tensor;
  /** `[6, rows]`: the factored second moment's rows at three decays, and their inverse roots. */
  readonly rows: Tensor;
  /** `[6, columns]`, likewise. Vectors have their own second moment in the place of both. */
  readonly columns: Tensor;
}

/** How many of the features are each kind. */
export const FEATURE_KINDS = { entries: 16, rows: 6, columns: 6 } as const;

/** @param gradient The gradient's view; `value` the parameter's. */
export function tensorFeatures(now: Accumulators, gradient: Tensor, value: Tensor): TensorFeatures {
  const [rowCount, columnCount] = gradient.shape as readonly number[];
  const isMatrix = gradient.rank === 2;
  const inverse = inverseRoot(now.square);
  const columns = isMatrix ? now.columns : now.rows;
  // The factored second moment: rows · columns / mean of rows; for vectors there is nothing to factor.
  const factor = isMatrix
    ? mul(
        reshape(inverseRoot(div(now.rows, add(mean(now.rows, 1, true), LEAST_SQUARE))), [3, rowCount!, 1]),
        reshape(inverseRoot(columns), [3, 1, columnCount!]),
      )
    : inverseRoot(now.rows);
  const one = (t: Tensor): Tensor => expandDims(t, 0);
  return {
    entries: concat(
      [
        one(gradient),
        one(value),
        now.momenta,
        one(now.square),
        mul(now.momenta, inverse),
        one(inverse),
        mul(one(gradient), factor),
        mul(now.momenta, factor),
      ],
      0,
    ),
    rows: concat([now.rows, inverseRoot(now.rows)], 0),
    columns: concat([columns, inverseRoot(columns)], 0),
  };
}

/** What each feature is multiplied by: 1 over its root mean square (plus ε) over the tensor, `[features]`. */
export function featureScales(features: Tensor, epsilon: number): Tensor {
  const power = mean(square(features), [...features.shape.keys()].slice(1));
  return rsqrt(add(power, epsilon));
}

/** `tanh(t/x - 1)` for the eleven scales x, `[11]`. @param step Steps taken, a scalar. */
export const timeFeatures = (step: Tensor): Tensor => tanh(sub(div(step, tensor(TIME_SCALES)), 1));
