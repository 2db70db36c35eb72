import {
  add,
  clip,
  div,
  equal,
  isFinite as finite,
  grad,
  maximum,
  mean,
  mul,
  scalar,
  scan,
  sub,
  sum,
  type Tensor,
  TensorError,
  treeLeaves,
  treeMap,
  valueAndGrad,
  where,
} from "@prior-art/tensor";
import {
  type ClosureOptimizer,
  type GradientTransformation,
  globalNorm,
  requireOutputs,
} from "@prior-art/toolkit/optim";

/** The gradient of a surrogate's mean prediction, its norm, and how the norm grows. */
export interface SurrogateSharpness<P> {
  /** `u = ∇h`, like the parameters. */
  readonly gradient: P;
  /** `ν = ‖u‖` over all parameters; the sharpness at radius ρ is `ρν` to first order. */
  readonly norm: Tensor;
  /** `q ≈ ∇‖u‖`, like the parameters. */
  readonly normGradient: P;
}

/**
 * How sensitive a mean prediction `h` is to the parameters: `‖∇h‖`, and the gradient of that norm by a finite difference
 * along itself, `[∇h(φ + r u/ν) - ∇h(φ)] / r`, which is 0 where ν is.
 * @param meanPrediction `h`, one number from the parameters.
 * @param radius r, 0.05 by default as in the authors' code.
 */
export function surrogateSharpness<P>(
  meanPrediction: (params: P) => Tensor,
  params: P,
  radius: number | Tensor = 0.05,
): SurrogateSharpness<P> {
  const gradientAt = grad((p: P) => meanPrediction(p));
  const gradient = gradientAt(params);
  const norm = globalNorm(gradient);
  const flat = equal(norm, 0);
  const length = div(radius, where(flat, 1, norm));
  const ahead = gradientAt(treeMap((p, u) => add(p, mul(length, u)), params, gradient));
  const normGradient = treeMap((far, near) => div(where(flat, 0, sub(far, near)), radius), ahead, gradient);
  return { gradient, norm, normGradient };
}

export interface IgniteOptions {
  /** ρ, the radius of parameter perturbations, 0.05 by default. */
  readonly rho?: number;
  /** r of the finite difference, 0.05 by default. */
  readonly fdRadius?: number;
  /** λ at first, 1e-3 by default. */
  readonly lambda0?: number | Tensor;
  /** η_λ, 1e-3 by default. */
  readonly dualRate?: number | Tensor;
  /** ε, the sharpness allowed, 0.1 by default. */
  readonly epsilon?: number;
  /** Whether λ follows the constraint (IGNITE, default) or stays (IGNITE-2). */
  readonly adaptive?: boolean;
}

export interface IgniteState<S> {
  readonly inner: S;
  /** λ, the constraint's multiplier. */
  readonly lambda: Tensor;
  /** ρν of the last batch, before its step; 0 at first. */
  readonly sharpness: Tensor;
}

function requireConstants({
  rho = 0.05,
  fdRadius = 0.05,
  lambda0 = 0,
  dualRate = 0,
  epsilon = 0.1,
}: IgniteOptions) {
  for (const [name, value] of Object.entries({ rho, fdRadius }))
    if (!(value > 0 && Number.isFinite(value)))
      throw new RangeError(`ignite: ${name} must be positive and finite, got ${value}`);
  for (const [name, value] of Object.entries({ lambda0, dualRate, epsilon }))
    if (typeof value === "number" && !(value >= 0 && Number.isFinite(value)))
      throw new RangeError(`ignite: ${name} must be finite and not negative, got ${value}`);
}

/**
 * IGNITE: trains a surrogate under the constraint that its mean prediction on a batch changes by at most ε when its
 * parameters are perturbed by ρ. The optimizer gets `∇loss + λρ ∇‖∇h‖`, then `λ ← max(0, λ + η_λ(ρ‖∇h‖ - ε))`. The mean is
 * over the batch; the authors' code divides the batch's sum by the size of the whole data set, which makes ρ smaller by the
 * batch's share, and lets λ fall below 0.
 *
 * It needs the model's outputs (`outputs` of `fit` and `trainSteps`), of which only `predict` is used. Around
 * `skipNonFinite`, a step whose numbers are not finite leaves parameters and λ as they were.
 * @param inner The optimizer that takes the steps, Adam at 1e-3 in the paper.
 * @throws RangeError when a radius is not positive, or λ, its rate or ε is negative. @throws TensorError in a step without
 *   outputs.
 * @example
 * const optimizer = ignite({ epsilon: 0.1, dualRate: 0.1 }, adam<MlpParams>({ learningRate: 1e-3 }));
 */
export function ignite<P, S>(
  options: IgniteOptions,
  inner: GradientTransformation<P, S>,
): ClosureOptimizer<P, IgniteState<S>> {
  const {
    rho = 0.05,
    fdRadius = 0.05,
    lambda0 = 1e-3,
    dualRate = 1e-3,
    epsilon = 0.1,
    adaptive = true,
  } = options;
  requireConstants(options);
  return {
    init(params) {
      const zero = scalar(0, treeLeaves(params)[0]?.dtype ?? "float32");
      return { inner: inner.init(params), lambda: add(zero, lambda0), sharpness: zero };
    },
    step(objective, state, params) {
      const { predict } = requireOutputs("ignite", objective);
      const [loss, gradient] = valueAndGrad((p: P) => objective.loss(p))(params);
      const { norm, normGradient } = surrogateSharpness((p: P) => mean(predict(p)), params, fdRadius);
      const strength = mul(state.lambda, rho);
      const combined = treeMap((a, q) => add(a, mul(strength, q)), gradient, normGradient);
      const [updates, next] = inner.update(combined, state.inner, params);
      const sharpness = mul(rho, norm);
      const ascended = maximum(0, add(state.lambda, mul(dualRate, sub(sharpness, epsilon))));
      const lambda = adaptive ? where(finite(norm), ascended, state.lambda) : state.lambda;
      return [updates, { inner: next, lambda, sharpness }, loss];
    },
  };
}

export interface GradientAscentOptions {
  /** The prediction for each design, `[designs, dimensions] → [designs]`. */
  readonly surrogate: (designs: Tensor) => Tensor;
  /** First designs, `[designs, dimensions]`. */
  readonly starts: Tensor;
  readonly steps: number;
  /** Of `x ← x + rate · ∇g`; 0.05·√dimensions by default, as for standardized continuous designs. */
  readonly rate?: number;
  /** Box that designs are kept in, each `[dimensions]`; none by default. */
  readonly bounds?: { readonly low: Tensor; readonly high: Tensor };
}

export interface AscendedDesigns {
  readonly designs: Tensor;
  /** Designs before each step, `[steps, designs, dimensions]`. */
  readonly path: Tensor;
}

/**
 * Improves each design by gradient ascent on a surrogate.
 * @throws RangeError unless steps are whole and the rate is positive. @throws TensorError when starts are no matrix.
 */
export function gradientAscentDesigns({
  surrogate,
  starts,
  steps,
  rate,
  bounds,
}: GradientAscentOptions): AscendedDesigns {
  const op = "gradientAscentDesigns";
  const dimensions = starts.shape[1];
  if (starts.rank !== 2 || dimensions === undefined)
    throw new TensorError(op, `starts must be [designs, dimensions], got ${starts.toString()}`);
  const stepSize = rate ?? 0.05 * Math.sqrt(dimensions);
  if (!(Number.isInteger(steps) && steps >= 0 && stepSize > 0 && Number.isFinite(stepSize)))
    throw new RangeError(`${op}: needs whole steps and a positive rate, got ${steps} and ${stepSize}`);
  // Each design's prediction depends on that design alone, so that the sum's gradient holds all of theirs.
  const slope = grad((x: Tensor) => sum(surrogate(x)));
  const [designs, path] = scan(
    (x: Tensor, _: null) => {
      const next = add(x, mul(stepSize, slope(x)));
      return [bounds ? clip(next, bounds.low, bounds.high) : next, x] as const;
    },
    starts,
    null,
    { length: steps },
  );
  return { designs, path };
}

/** 0 at the worst and 1 at the best value of the (whole, partly hidden) data. @throws RangeError when they are alike. */
export function normalizedScore(value: number, least: number, most: number): number {
  if (!(most > least)) throw new RangeError(`normalizedScore: needs least < most, got ${least} and ${most}`);
  return (value - least) / (most - least);
}
