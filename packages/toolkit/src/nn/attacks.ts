import {
  add,
  clip,
  div,
  grad,
  maximum,
  minimum,
  mul,
  random,
  reshape,
  scan,
  sign,
  sqrt,
  stopGradient,
  sub,
  sum,
  type Tensor,
  TensorError,
} from "@prior-art/tensor";

/** The loss to raise, one number, as a function of inputs `[batch, …]`: a sum over examples, so that none weighs less. */
export type InputLoss = (inputs: Tensor) => Tensor;

export interface AttackOptions {
  /** ε: the largest change of an input, in units of the inputs. */
  readonly radius: number;
  /** In which norm, over all axes but the first; `"max"` by default. */
  readonly norm?: "max" | "euclidean";
  /** Inputs stay in this range; unbounded by default. */
  readonly bounds?: readonly [low: number, high: number];
}

export interface PgdOptions extends AttackOptions {
  readonly steps: number;
  /** α; 2.5 · radius / steps by default (Madry et al., 2018). */
  readonly stepSize?: number;
  /** Where to start: at a random point of the ball with a key, else at the inputs. */
  readonly key?: Tensor;
}

/** Length of each example, `[batch, 1, …]`, never 0. */
function lengths(x: Tensor): Tensor {
  const flat = reshape(x, [x.shape[0]!, x.size / x.shape[0]!]);
  const norm = sqrt(add(sum(mul(flat, flat), -1), 1e-24));
  return reshape(norm, [x.shape[0]!, ...new Array<number>(x.rank - 1).fill(1)]);
}

function requireRadius(op: string, x: Tensor, { radius }: AttackOptions): void {
  if (!(radius >= 0 && Number.isFinite(radius)))
    throw new RangeError(`${op}: the radius must be finite and at least 0, got ${radius}`);
  if (x.rank < 1 || x.size === 0) throw new TensorError(op, `inputs ${x.toString()} hold no examples`);
}

/** The nearest point to `x` in the ball around `center` and within the bounds. */
function project(x: Tensor, center: Tensor, { radius, norm = "max", bounds }: AttackOptions): Tensor {
  const inBall =
    norm === "max"
      ? minimum(maximum(x, sub(center, radius)), add(center, radius))
      : add(center, mul(sub(x, center), minimum(div(radius, lengths(sub(x, center))), 1)));
  return bounds ? clip(inBall, ...bounds) : inBall;
}

/** Steepest ascent of unit length in the norm. */
const ascent = (gradient: Tensor, norm: AttackOptions["norm"]): Tensor =>
  norm === "euclidean" ? div(gradient, lengths(gradient)) : sign(gradient);

/**
 * Fast gradient (sign) method (Goodfellow et al., 2015): one step of length `radius`. The result counts as data: nothing is
 * differentiated through the attack.
 * @param x `[batch, …]`
 * @throws RangeError for a radius below 0.
 * @example
 * const attacked = fgsm((z) => mul(batch, crossEntropy(model.apply(params, z), labels)), x, { radius: 0.1 });
 */
export function fgsm(loss: InputLoss, x: Tensor, options: AttackOptions): Tensor {
  requireRadius("fgsm", x, options);
  const step = mul(options.radius, ascent(grad(loss)(x), options.norm));
  return stopGradient(project(add(x, step), x, options));
}

/**
 * Projected gradient ascent on the loss (Madry et al., 2018), in one loop of the compiled model. The result counts as data.
 * @param x `[batch, …]`
 * @throws RangeError for a radius below 0 or fewer than one step.
 */
export function pgd(loss: InputLoss, x: Tensor, options: PgdOptions): Tensor {
  const { radius, steps, norm = "max", stepSize = (2.5 * radius) / steps, key } = options;
  requireRadius("pgd", x, options);
  if (!(Number.isInteger(steps) && steps >= 1))
    throw new RangeError(`pgd: steps must be a whole number of at least 1, got ${steps}`);
  const dtype = x.dtype === "float64" ? "float64" : "float32";
  const noise = key && random.uniform(key, x.shape, { low: -radius, high: radius, dtype });
  const start = noise ? project(add(x, noise), x, options) : x;
  const [attacked] = scan(
    (z: Tensor, _: null) => [project(add(z, mul(stepSize, ascent(grad(loss)(z), norm))), x, options), null],
    start,
    null,
    { length: steps },
  );
  return stopGradient(attacked);
}
