import { addScaled, difference, dot, norm } from "@prior-art/toolkit/linalg";
import type { RandomStream } from "@prior-art/toolkit/stats";
import type { BilevelProblem } from "../family.ts";

/** Constants of a problem that error bounds need; those that are not given are estimated. */
export interface BilevelConstants {
  /** Largest eigenvalue of ∇²_xx h, L. The inner solver is FISTA where it is given, else L-BFGS. */
  smoothness?(lambda: Float64Array): number;
  /** Lipschitz constant of ∇_x g in x, L_g. */
  readonly outerSmoothness?: number;
  /** Largest singular value of B = ∇²_xλ h. */
  crossNorm?(x: Float64Array, lambda: Float64Array): number;
  /** Lipschitz constant of B in x, L_B; 0 for an h that is quadratic in (x, λ). */
  crossLipschitz?(lambda: Float64Array): number;
  /** Lipschitz constant in x of the inverse of A = ∇²_xx h, L_{A⁻¹}; 0 for an h that is quadratic in x. */
  inverseLipschitz?(lambda: Float64Array): number;
}

/** What the bound is made of, at one inner solution. */
export interface BoundTerms {
  /** ‖x̃ − x̂‖ ≤ ε. */
  readonly epsilon: number;
  /** Residual of the linear system. */
  readonly delta: number;
  readonly strongConvexity: number;
  readonly outerSmoothness: number;
  readonly crossNorm: number;
  readonly crossLipschitz: number;
  readonly inverseLipschitz: number;
  /** Lipschitz constant in x of ∇_λ g with x held fixed. */
  readonly directLipschitz: number;
  /** ‖∇_x g(x̃)‖. */
  readonly outerGradientNorm: number;
}

/**
 * ω with `‖z − ∇f(λ)‖ ≤ ω` for the hypergradient z at an inner solution accurate to ε and a linear solution accurate to δ:
 *
 * `ω = (L_g‖B‖/μ + L_{A⁻¹}‖∇g‖‖B‖ + L_B‖∇g‖/μ) ε + ‖B‖δ/μ + L_B L_g ε²/μ`,
 *
 * and `L_λ ε` more where g depends on λ itself.
 */
export function hypergradientErrorBound(terms: BoundTerms): number {
  const { epsilon, delta, strongConvexity: mu, outerSmoothness, crossNorm, crossLipschitz } = terms;
  const { inverseLipschitz, directLipschitz, outerGradientNorm } = terms;
  return (
    ((outerSmoothness * crossNorm) / mu +
      inverseLipschitz * outerGradientNorm * crossNorm +
      (crossLipschitz * outerGradientNorm) / mu +
      directLipschitz) *
      epsilon +
    (crossNorm * delta) / mu +
    (crossLipschitz * outerSmoothness * epsilon ** 2) / mu
  );
}

/** Length of the steps of finite differences. */
const STEP = 1e-5;

/**
 * The constants of a problem along a run: given ones as they are, others by finite differences along random directions,
 * kept as running maxima. Inner gradients and Hessian products that this takes are the problem's to count.
 */
export function constantsOf(problem: BilevelProblem, given: BilevelConstants, stream: RandomStream) {
  const { inner, outer, parameters } = problem;
  const greatest = { outerSmoothness: 0, crossLipschitz: 0, hessianLipschitz: 0, directLipschitz: 0 };
  const raise = (name: keyof typeof greatest, value: number): number => {
    greatest[name] = Math.max(greatest[name], value);
    return greatest[name];
  };
  const unit = (size: number): Float64Array => {
    const v = Float64Array.from({ length: size }, () => stream.normal());
    const length = norm(v);
    return v.map((value) => value / length);
  };
  const moved = (x: Float64Array, direction: Float64Array): Float64Array =>
    addScaled(x.slice(), STEP, direction);
  let outerDirection = unit(parameters);
  let crossDirection = unit(problem.lower.length);

  /** A step of power iteration for ‖∇²_xx g‖, so that repeated calls close in on it. */
  const outerSmoothness = (x: Float64Array, lambda: Float64Array, gradient: Float64Array): number => {
    const change = difference(outer.gradient(moved(x, outerDirection), lambda), gradient);
    const length = norm(change) / STEP;
    if (length > 0) outerDirection = change.map((value) => value / (STEP * length));
    return raise("outerSmoothness", length);
  };

  /** Power iterations on BᵀB with B v by differences of the inner gradient: two inner gradients a step. */
  const crossNorm = (x: Float64Array, lambda: Float64Array): number => {
    let size = 0;
    for (let step = 0; step < 2; step++) {
      const after = inner.evaluate(x, moved(lambda, crossDirection)).gradient;
      const before = inner.evaluate(x, addScaled(lambda.slice(), -STEP, crossDirection)).gradient;
      const image = difference(after, before).map((value) => value / (2 * STEP));
      const back = inner.crossProduct(x, lambda, image);
      size = Math.max(size, norm(image), norm(back) / Math.max(norm(image), Number.MIN_VALUE));
      const length = norm(back);
      if (length > 0) crossDirection = back.map((value) => value / length);
    }
    return size;
  };

  return {
    /** The constants at an inner solution with its linear solution `q`. */
    at(x: Float64Array, lambda: Float64Array, outerGradient: Float64Array, q: Float64Array) {
      const mu = inner.strongConvexity(lambda);
      const direction = unit(parameters);
      const near = moved(x, direction);
      const qNorm = Math.max(norm(q), Number.MIN_VALUE);
      const gradientNorm = Math.max(norm(outerGradient), Number.MIN_VALUE);
      const crossLipschitz =
        given.crossLipschitz?.(lambda) ??
        raise(
          "crossLipschitz",
          norm(difference(inner.crossProduct(near, lambda, q), inner.crossProduct(x, lambda, q))) /
            (STEP * qNorm),
        );
      let inverseLipschitz = given.inverseLipschitz?.(lambda);
      if (inverseLipschitz === undefined) {
        // (A(x)⁻¹ − A(y)⁻¹)b = A(x)⁻¹(A(y) − A(x))A(y)⁻¹b: the change of A along q stands for that of its inverse on ∇g.
        const change = difference(inner.hessianProduct(near, lambda, q), inner.hessianProduct(x, lambda, q));
        const hessianLipschitz = raise("hessianLipschitz", norm(change) / (STEP * qNorm));
        inverseLipschitz = (hessianLipschitz * qNorm) / (mu * gradientNorm);
      }
      const { hyperGradient } = outer;
      return {
        strongConvexity: mu,
        outerSmoothness: given.outerSmoothness ?? outerSmoothness(x, lambda, outerGradient),
        crossNorm: given.crossNorm?.(x, lambda) ?? crossNorm(x, lambda),
        crossLipschitz,
        inverseLipschitz,
        directLipschitz: hyperGradient
          ? raise(
              "directLipschitz",
              norm(difference(hyperGradient(near, lambda), hyperGradient(x, lambda))) / STEP,
            )
          : 0,
        outerGradientNorm: Math.sqrt(dot(outerGradient, outerGradient)),
      };
    },
  };
}
