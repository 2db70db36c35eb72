import {
  add,
  div,
  matmul,
  maximum,
  mean,
  mul,
  sqrt,
  sub,
  sum,
  type Tensor,
  TensorError,
  treeLeaves,
  treeMap,
  zerosLike,
} from "@prior-art/tensor";
import {
  type GradientTransformation,
  mapPaths,
  requireLearningRate,
  requireSameTree,
} from "@prior-art/toolkit/optim";

export interface NormalizedLinearOptions {
  /** `[outputs]`; 1 by default. */
  readonly gain?: Tensor | number;
  /** `[outputs]`; 0 by default. */
  readonly bias?: Tensor | number;
  /** Added to the variance; 1e-5 by default. Anything but 0 breaks the invariance for tiny weights. */
  readonly eps?: number;
}

/**
 * A linear layer whose outputs are normalized over the batch: `gain (xw - mean)/√(var + eps) + bias`, the variance biased.
 * With `eps = 0` multiplying `w` by a positive number, one for each output or for all, changes nothing.
 * @param x `[batch, inputs]` @param w `[inputs, outputs]`
 * @returns `[batch, outputs]`
 * @throws TensorError unless both are matrices that fit and the batch has two rows. @throws RangeError for `eps < 0`.
 */
export function normalizedLinear(x: Tensor, w: Tensor, options: NormalizedLinearOptions = {}): Tensor {
  const { gain = 1, bias = 0, eps = 1e-5 } = options;
  if (!(eps >= 0)) throw new RangeError(`normalizedLinear: eps must be 0 or more, got ${eps}`);
  if (x.rank !== 2 || w.rank !== 2 || x.shape[1] !== w.shape[0] || x.shape[0]! < 2)
    throw new TensorError(
      "normalizedLinear",
      `takes inputs [batch ≥ 2, inputs] and weights [inputs, outputs], got ${x} and ${w}`,
    );
  const z = matmul(x, w);
  const centred = sub(z, mean(z, 0));
  const deviation = sqrt(add(mean(mul(centred, centred), 0), eps));
  return add(mul(gain, div(centred, deviation)), bias);
}

/** How an optimizer's step depends on the gradient's length. */
export type OptimizerKind = "sgd" | "momentum" | "rmsprop" | "adam" | "newton" | "normalizedGradient";

/**
 * The learning rate that would turn a scale-invariant weight of length 1 as far as this one of length `weightNorm`:
 * `lr/‖w‖²` for SGD, with momentum divided by `1 - momentum` too, `lr/‖w‖` for RMSProp and Adam, whose ε is small, and
 * `lr` itself for Newton's method and for gradients normalized to the weights' length.
 * @throws RangeError for a learning rate or norm that is not positive, or a momentum outside [0, 1).
 */
export function effectiveLearningRate(
  kind: OptimizerKind,
  { lr, momentum = 0 }: { readonly lr: number; readonly momentum?: number },
  weightNorm: number,
): number {
  requireLearningRate("effectiveLearningRate", lr);
  if (!(weightNorm > 0 && momentum >= 0 && momentum < 1))
    throw new RangeError(
      `effectiveLearningRate: needs a positive norm and a momentum in [0, 1), got ${weightNorm} and ${momentum}`,
    );
  switch (kind) {
    case "sgd":
      return lr / weightNorm ** 2;
    case "momentum":
      return lr / (weightNorm ** 2 * (1 - momentum));
    case "rmsprop":
    case "adam":
      return lr / weightNorm;
    case "newton":
    case "normalizedGradient":
      return lr;
  }
}

export interface NormLaw {
  readonly lr: number;
  /** λ of the penalty `λ‖w‖²`; a decay factor of `1 - 2 lr λ` a step. */
  readonly lambda: number;
  /** g̃, the length of the gradient at weights of length 1; a number, or one for each step. */
  readonly gTilde: number | readonly number[];
}

const requireLaw = (op: string, { lr, lambda }: Pick<NormLaw, "lr" | "lambda">): void => {
  requireLearningRate(op, lr);
  if (!(lambda >= 0 && lr * lambda < 0.5))
    throw new RangeError(`${op}: needs λ ≥ 0 and 2 · lr · λ < 1, got λ = ${lambda} at lr = ${lr}`);
};

/**
 * Norms of a scale-invariant weight under plain SGD, before the first step and after each:
 * `‖w'‖² = (1 - 2ηλ)² ‖w‖² + η² g̃²/‖w‖²`, exact, as the gradient is orthogonal to the weight.
 * @throws RangeError for a rate or start that is not positive, `2ηλ ≥ 1`, or fewer `gTilde` than steps.
 */
export function predictNorm({
  lr,
  lambda,
  gTilde,
  w0,
  steps,
}: NormLaw & { readonly w0: number; readonly steps: number }): number[] {
  requireLaw("predictNorm", { lr, lambda });
  if (!(w0 > 0 && steps >= 0))
    throw new RangeError(`predictNorm: needs w0 > 0 and steps ≥ 0, got ${w0} and ${steps}`);
  if (typeof gTilde !== "number" && gTilde.length < steps)
    throw new RangeError(`predictNorm: ${gTilde.length} gradient lengths for ${steps} steps`);
  const norms = [w0];
  for (let t = 0; t < steps; t++) {
    const square = norms[t]! ** 2;
    const g = typeof gTilde === "number" ? gTilde : gTilde[t]!;
    norms.push(Math.sqrt((1 - 2 * lr * lambda) ** 2 * square + (lr * g) ** 2 / square));
  }
  return norms;
}

/**
 * The norm at which growth and decay balance: `‖w‖⁴ = η²g̃²/(1 - (1 - 2ηλ)²) ≈ ηg̃²/4λ`.
 * @throws RangeError as `predictNorm`, and for `λ = 0`, where the norm grows for ever.
 */
export function equilibriumNorm({ lr, lambda, gTilde }: NormLaw & { readonly gTilde: number }): number {
  requireLaw("equilibriumNorm", { lr, lambda });
  if (!(lambda > 0))
    throw new RangeError("equilibriumNorm: without a penalty (λ = 0) the norm has no fixed point");
  return ((lr * gTilde) ** 2 / (1 - (1 - 2 * lr * lambda) ** 2)) ** 0.25;
}

/** Which tensors are scale-invariant, by path and tensor. */
export type Select = (path: string, parameter: Tensor) => boolean;

export interface UnitNormOptions {
  /**
   * Take off what gradients and steps have along the weights: penalties and decay, which then do nothing at all; true by
   * default. Without it the decay's factor `1 - 2ηλ` still divides the rate when the weights are scaled back.
   */
  readonly project?: boolean;
}

const dot = (a: Tensor, b: Tensor): Tensor => sum(mul(a, b));

/** `t` without its part along `w`. */
const tangent = (t: Tensor, w: Tensor): Tensor => sub(t, mul(div(dot(t, w), maximum(dot(w, w), 1e-30)), w));

/**
 * The base optimizer on a sphere: after each step, the first included, the chosen tensors are scaled back to Frobenius
 * norm 1. For scale-invariant tensors this trains the same functions at a fixed effective learning rate, and a penalty on
 * their length, in the gradient or decoupled, is without effect.
 *
 * Put it around the whole optimizer: behind it, further transformations would leave the sphere.
 * @throws TensorError, at a step, when gradients and parameters don't fit.
 * @example
 * const optimizer = withUnitNorm(sgd<MlpParams>({ learningRate: 0.1 }), (path) => /^layers.[01].\.weight$/.test(path));
 */
export function withUnitNorm<P, S>(
  base: GradientTransformation<P, S>,
  select: Select,
  { project = true }: UnitNormOptions = {},
): GradientTransformation<P, S> {
  return {
    init: (params) => base.init(params),
    update: (gradients, state, params) => {
      requireSameTree("withUnitNorm", gradients, params);
      const chosen = new Set<Tensor>();
      const marks = treeMap(zerosLike, params);
      mapPaths(marks, (path, mark) => {
        if (select(path, mark)) chosen.add(mark);
        return mark;
      });
      const kept = treeLeaves(marks).map((mark) => chosen.has(mark));
      /** `f` of the chosen tensors and their weights. */
      const onChosen = (f: (t: Tensor, w: Tensor) => Tensor, tree: P): P => {
        let at = 0;
        return treeMap((t, w) => (kept[at++] ? f(t, w) : t), tree, params);
      };
      const [updates, next] = base.update(project ? onChosen(tangent, gradients) : gradients, state, params);
      const back = (u: Tensor, w: Tensor): Tensor => {
        const moved = add(w, project ? tangent(u, w) : u);
        return sub(div(moved, maximum(sqrt(dot(moved, moved)), 1e-30)), w);
      };
      return [onChosen(back, updates), next];
    },
  };
}
