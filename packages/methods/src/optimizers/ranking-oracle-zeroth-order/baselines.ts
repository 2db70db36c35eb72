import { matrix, symmetricEigen, times, transposedTimes } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import type { ZoRankSgdStep } from "./method.ts";

export interface Problem {
  /** To be minimized; may be noisy. */
  readonly f: (x: Float64Array) => number;
  readonly start: Float64Array;
  readonly seed: number;
}

/** A method without gradients, step by step and without end. */
export type Minimizer = (
  problem: Problem,
  size: number,
) => Iterable<ZoRankSgdStep> | AsyncIterable<ZoRankSgdStep>;

const moved = (x: Float64Array, direction: ArrayLike<number>, length: number): Float64Array =>
  x.map((v, i) => v + length * direction[i]!);

/** ZO-SGD from the values of two points: `g = (f(x + μξ) - f(x - μξ)) / 2μ · ξ`. @param size The step size. */
export const valueSgd = (mu: number): Minimizer =>
  function* ({ f, start, seed }, size) {
    const random = randomStream(seed, "value-sgd");
    let x = start;
    for (let queries = 2; ; queries += 2) {
      const xi = Float64Array.from(start, () => random.normal());
      const slope = (f(moved(x, xi, mu)) - f(moved(x, xi, -mu))) / (2 * mu);
      x = moved(x, xi, -size * slope);
      yield { x, queries };
    }
  };

/**
 * Gradientless descent with a search over radii (Golovin et al., 2020): one point from a ball of each radius `size · 2⁻ⁱ`,
 * and on from the best of them and where it stands.
 */
export const gradientlessDescent = (radii: number): Minimizer =>
  function* ({ f, start, seed }, size) {
    const random = randomStream(seed, "gradientless-descent");
    let x = start;
    let value = f(x);
    for (let queries = 1 + radii; ; queries += radii) {
      const from = x;
      for (let i = 0; i < radii; i++) {
        const direction = Float64Array.from(start, () => random.normal());
        const length = Math.hypot(...direction);
        const radius = size * 2 ** -i * random.uniform() ** (1 / start.length);
        const candidate = moved(from, direction, radius / length);
        const there = f(candidate);
        if (there < value) [x, value] = [candidate, there];
      }
      yield { x, queries };
    }
  };

/**
 * CMA-ES with the default constants of Hansen's tutorial (arXiv:1604.00772), without negative weights; `x` is the mean.
 * @param size The first standard deviation.
 */
export const cmaEs: Minimizer = function* ({ f, start, seed }, size) {
  const random = randomStream(seed, "cma-es");
  const d = start.length;
  const lambda = 4 + Math.floor(3 * Math.log(d));
  const parents = lambda >> 1;
  const raw = Array.from({ length: parents }, (_, i) => Math.log(parents + 0.5) - Math.log(i + 1));
  const total = raw.reduce((a, b) => a + b);
  const weights = raw.map((w) => w / total);
  const effective = 1 / weights.reduce((sum, w) => sum + w * w, 0);
  const pathRate = (effective + 2) / (d + effective + 5);
  const damping = 1 + 2 * Math.max(0, Math.sqrt((effective - 1) / (d + 1)) - 1) + pathRate;
  const covariancePathRate = (4 + effective / d) / (d + 4 + (2 * effective) / d);
  const rankOne = 2 / ((d + 1.3) ** 2 + effective);
  const rankMany = Math.min(1 - rankOne, (2 * (effective - 2 + 1 / effective)) / ((d + 2) ** 2 + effective));
  const expectedNorm = Math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d));

  let mean = start;
  let sigma = size;
  const covariance = matrix(d, d);
  for (let i = 0; i < d; i++) covariance.values[i * d + i] = 1;
  let axes = symmetricEigen(covariance);
  let path: Float64Array = new Float64Array(d);
  let covariancePath: Float64Array = new Float64Array(d);
  // Renewed now and then only: at this size they would be most of the work, and the covariance changes slowly.
  const renewal = Math.ceil(d / 2);
  for (let generation = 1; ; generation++) {
    const roots = axes.values.map((v) => Math.sqrt(Math.max(v, 1e-20)));
    const offspring = Array.from({ length: lambda }, () => {
      const z = Float64Array.from(roots, (root) => root * random.normal());
      const y = times(axes.vectors, z);
      const value = f(moved(mean, y, sigma));
      return { y, value: Number.isNaN(value) ? Number.POSITIVE_INFINITY : value };
    }).sort((a, b) => (a.value === b.value ? 0 : a.value - b.value));
    let step: Float64Array = new Float64Array(d);
    weights.forEach((w, i) => {
      step = moved(step, offspring[i]!.y, w);
    });
    mean = moved(mean, step, sigma);
    const white = times(
      axes.vectors,
      transposedTimes(axes.vectors, step).map((v, i) => v / roots[i]!),
    );
    path = moved(
      path.map((v) => (1 - pathRate) * v),
      white,
      Math.sqrt(pathRate * (2 - pathRate) * effective),
    );
    const length = Math.hypot(...path);
    const usual =
      length / Math.sqrt(1 - (1 - pathRate) ** (2 * generation)) < (1.4 + 2 / (d + 1)) * expectedNorm;
    covariancePath = moved(
      covariancePath.map((v) => (1 - covariancePathRate) * v),
      step,
      usual ? Math.sqrt(covariancePathRate * (2 - covariancePathRate) * effective) : 0,
    );
    // What the path lacks while it is held back.
    const held = usual ? 0 : rankOne * covariancePathRate * (2 - covariancePathRate);
    const c = covariance.values;
    for (let i = 0; i < d; i++)
      for (let j = 0; j <= i; j++) {
        let many = 0;
        for (let p = 0; p < parents; p++) many += weights[p]! * offspring[p]!.y[i]! * offspring[p]!.y[j]!;
        const next =
          (1 - rankOne - rankMany + held) * c[i * d + j]! +
          rankOne * covariancePath[i]! * covariancePath[j]! +
          rankMany * many;
        c[i * d + j] = next;
        c[j * d + i] = next;
      }
    sigma *= Math.exp((pathRate / damping) * (length / expectedNorm - 1));
    if (generation % renewal === 0) axes = symmetricEigen(covariance);
    yield { x: mean, queries: generation * lambda };
  }
};
