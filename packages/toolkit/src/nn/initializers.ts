import {
  linalg,
  matrixTranspose,
  mul,
  ones as onesOf,
  random,
  reshape,
  type Shape,
  type Tensor,
  TensorError,
  zeros as zerosOf,
} from "@prior-art/tensor";

export type FloatDType = "float32" | "float64";

/** A parameter's first values from a random key. */
export type Initializer = (key: Tensor, shape: Shape, dtype?: FloatDType) => Tensor;

export type Distribution = "normal" | "uniform";

export const zeros: Initializer = (_, shape, dtype = "float32") => zerosOf(shape, dtype);
export const ones: Initializer = (_, shape, dtype = "float32") => onesOf(shape, dtype);

/** Normal numbers of mean 0. @param deviation standard deviation, 0.02 by default as in GPT-2. */
export const normal =
  (deviation = 0.02): Initializer =>
  (key, shape, dtype = "float32") =>
    mul(random.normal(key, shape, { dtype }), deviation);

/** Uniform numbers in `[-limit, limit)`. */
export const uniform =
  (limit: number): Initializer =>
  (key, shape, dtype = "float32") =>
    random.uniform(key, shape, { low: -limit, high: limit, dtype });

/**
 * Inputs that reach one output and outputs that one input reaches, of a matrix `[inputs, outputs]` or filters
 * `[filters, channels / groups, …kernel]`.
 * @throws TensorError for fewer than two axes.
 */
export function fans(shape: Shape): { readonly fanIn: number; readonly fanOut: number } {
  const [first, second, ...kernel] = shape;
  if (first === undefined || second === undefined)
    throw new TensorError("fans", `[${shape.join(", ")}] is neither a matrix nor filters`);
  if (kernel.length === 0) return { fanIn: first, fanOut: second };
  const taps = kernel.reduce((product, n) => product * n, 1);
  return { fanIn: second * taps, fanOut: first * taps };
}

/** Random numbers of mean 0 and the variance that the shape asks for. */
const ofVariance =
  (variance: (shape: Shape) => number, distribution: Distribution): Initializer =>
  (key, shape, dtype) => {
    const deviation = Math.sqrt(variance(shape));
    const draw = distribution === "normal" ? normal(deviation) : uniform(Math.sqrt(3) * deviation);
    return draw(key, shape, dtype);
  };

/** Variance `2 / (fanIn + fanOut)`, for tanh and linear layers (Glorot & Bengio, 2010, eq. 16). */
export const glorot = (distribution: Distribution = "uniform"): Initializer =>
  ofVariance((shape) => {
    const { fanIn, fanOut } = fans(shape);
    return 2 / (fanIn + fanOut);
  }, distribution);

/** Variance `2 / fanIn`, for rectifiers (He et al., 2015, eq. 10). */
export const he = (distribution: Distribution = "normal"): Initializer =>
  ofVariance((shape) => 2 / fans(shape).fanIn, distribution);

/** Variance `1 / fanIn`, which keeps the variance of a linear layer (LeCun et al., 1998, section 4.6). */
export const lecun = (distribution: Distribution = "normal"): Initializer =>
  ofVariance((shape) => 1 / fans(shape).fanIn, distribution);

/**
 * `gain` times a matrix of orthonormal rows or columns, whichever are fewer, uniform among all such; filters count as
 * `[filters, the rest]` (Saxe et al., 2014).
 * @throws TensorError for fewer than two axes.
 */
export const orthogonal =
  (gain = 1): Initializer =>
  (key, shape, dtype = "float32") => {
    fans(shape);
    const rows = shape[0]!;
    const columns = shape.slice(1).reduce((product, n) => product * n, 1);
    const { q } = linalg.qr(
      random.normal(key, [Math.max(rows, columns), Math.min(rows, columns)], { dtype }),
    );
    return mul(reshape(rows < columns ? matrixTranspose(q) : q, shape), gain);
  };
