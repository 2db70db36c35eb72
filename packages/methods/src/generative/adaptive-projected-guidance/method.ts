import {
  add,
  div,
  maximum,
  minimum,
  mul,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  type TensorLike,
  zerosLike,
} from "@prior-art/tensor";
import { type Guidance, stateless } from "@prior-art/toolkit/diffusion";

/** Keeps divisions by a length of zero at zero, in float32. */
const TINY = 1e-30;

export interface ProjectedGuidanceOptions {
  /** w: guidance scale, 1 leaves the conditional model; broadcasts against `[batch, dimensions]`. */
  readonly scale: TensorLike;
  /** η: what is kept of the part parallel to the conditional prediction, 0 (default) to 1 (all). */
  readonly parallel?: TensorLike;
  /** r: longest update, in the units of the data (Euclidean norm of an example); `Infinity` (default) caps nothing. */
  readonly radius?: TensorLike;
  /** β: weight of the steps before, negative to push away from them; 0 by default, −0.75 or −0.5 in the paper. */
  readonly momentum?: TensorLike;
}

/** The parts of an update along a direction and across it, example by example. */
export interface Projection {
  readonly parallel: Tensor;
  readonly orthogonal: Tensor;
}

/**
 * Splits `[batch, dimensions]` updates into what is parallel and what is orthogonal to directions of the same shape
 * (the paper's equation for ΔD∥ and ΔD⊥). A direction of length zero has nothing parallel to it.
 */
export function project(update: Tensor, direction: Tensor): Projection {
  const inner = sum(mul(update, direction), -1, true);
  const length = sum(square(direction), -1, true);
  const parallel = mul(div(inner, maximum(length, TINY)), direction);
  return { parallel, orthogonal: sub(update, parallel) };
}

/** Shortens updates to `radius`: `update · min(1, r / ‖update‖)`, example by example. */
export function capNorm(update: Tensor, radius: TensorLike): Tensor {
  const length = sqrt(sum(square(update), -1, true));
  return mul(update, minimum(1, div(radius, maximum(length, TINY))));
}

/**
 * Adaptive projected guidance. From predictions of clean data D, with Δ = D_cond − D_uncond:
 *
 *     Δ̄ ← Δ + β Δ̄            reverse momentum over the steps
 *     Δ̂ = Δ̄ · min(1, r/‖Δ̄‖)   a cap on the update's norm
 *     D̂ = D_cond + (w − 1) (Δ̂⊥ + η Δ̂∥)   parallel and orthogonal to D_cond
 *
 * With η = 1, r = ∞ and β = 0 it is classifier-free guidance. Two evaluations a step, as there.
 *
 * @example
 * const guidance = adaptiveProjectedGuidance({ scale: 5, radius: 4, momentum: -0.5 });
 * const images = ddim({ denoiser, path, start, labels, guidance, key });
 */
export function adaptiveProjectedGuidance({
  scale,
  parallel = 0,
  radius = Number.POSITIVE_INFINITY,
  momentum = 0,
}: ProjectedGuidanceOptions): Guidance<Tensor> {
  return {
    init: (x) => zerosLike(x),
    combine(step, average) {
      const conditional = step.conditional();
      const moved = add(sub(conditional, step.unconditional()), mul(momentum, average));
      const { parallel: along, orthogonal } = project(capNorm(moved, radius), conditional);
      const update = add(orthogonal, mul(parallel, along));
      return [add(conditional, mul(sub(scale, 1), update)), moved];
    },
  };
}

/** Guidance by the parallel part alone, `D_cond + (w − 1) Δ∥`: what the paper's analysis blames for oversaturation. */
export const parallelGuidance = (scale: TensorLike): Guidance<null> =>
  stateless((step) => {
    const conditional = step.conditional();
    const { parallel } = project(sub(conditional, step.unconditional()), conditional);
    return add(conditional, mul(sub(scale, 1), parallel));
  });
