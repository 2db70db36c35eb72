import { type RandomStream, randomStream } from "@prior-art/toolkit/stats";
import { checkedProblem } from "./checkedProblem.ts";
import type { HyperparameterSolver, Step } from "./family.ts";
import { tryAll } from "./search.ts";

export interface ParzenOptions {
  /** Gradient norm of the inner problem, relative to that at zero, at which a candidate counts as trained. Default 1e-4. */
  readonly tolerance?: number;
  /** Share of the observed points that count as good, γ. Default 0.25. */
  readonly quantile?: number;
  /** Points drawn uniformly before any density is estimated. Default 8. */
  readonly randomPoints?: number;
  /** Draws from the good points' density, of which the most promising is tried. Default 24. */
  readonly candidates?: number;
}

/** A mixture of equally weighted Gaussians truncated to an interval, and the uniform distribution on it as one more part. */
export interface ParzenDensity {
  density(x: number): number;
  draw(stream: RandomStream): number;
}

/**
 * The kernel density estimate of one dimension: a Gaussian on each point, as wide as the larger gap to its neighbours (the
 * interval's ends count as such), from 1/min(100, n + 1) of the interval to all of it.
 *
 * @throws RangeError for an empty interval.
 */
export function parzenDensity(points: ArrayLike<number>, lower: number, upper: number): ParzenDensity {
  const width = upper - lower;
  if (!(width > 0 && Number.isFinite(width)))
    throw new RangeError(`parzenDensity: the interval from ${lower} to ${upper} has no finite length`);
  const centers = Float64Array.from(points).sort();
  const least = width / Math.min(100, centers.length + 1);
  const parts = Array.from(centers, (center, i) => {
    const gap = Math.max(center - (centers[i - 1] ?? lower), (centers[i + 1] ?? upper) - center);
    const spread = Math.min(width, Math.max(least, gap));
    const mass = normalCdf((upper - center) / spread) - normalCdf((lower - center) / spread);
    return { center, spread, mass };
  });
  return {
    density(x) {
      if (!(x >= lower && x <= upper)) return 0;
      let sum = 1 / width;
      for (const { center, spread, mass } of parts)
        sum += Math.exp(-0.5 * ((x - center) / spread) ** 2) / (Math.sqrt(2 * Math.PI) * spread * mass);
      return sum / (parts.length + 1);
    },
    draw(stream) {
      const part = parts[stream.integer(parts.length + 1)];
      if (!part) return lower + width * stream.uniform();
      // No part is wider than the interval and each is centred within it, so that at least a third of its mass is inside.
      for (;;) {
        const x = part.center + part.spread * stream.normal();
        if (x >= lower && x <= upper) return x;
      }
    },
  };
}

/** Abramowitz and Stegun's 7.1.26, to 1.5e-7. */
function normalCdf(z: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(z)) / Math.SQRT2);
  const series =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp(-0.5 * z * z);
  return z >= 0 ? 1 - tail : tail;
}

/**
 * The next point to try by the tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for Hyper-Parameter
 * Optimization"): of `candidates` draws from the density l of the good points, dimension by dimension, the one with the largest
 * l/g, g being the density of the others.
 */
export function proposePoint(
  history: readonly Pick<Step, "lambda" | "outer">[],
  lower: Float64Array,
  upper: Float64Array,
  stream: RandomStream,
  { quantile = 0.25, candidates = 24 }: Pick<ParzenOptions, "quantile" | "candidates"> = {},
): Float64Array {
  const ranked = [...history].sort((a, b) => a.outer - b.outer);
  const good = Math.max(1, Math.ceil(quantile * ranked.length));
  const axes = Array.from(lower, (low, j) => {
    if (low === upper[j]) return undefined;
    const at = ranked.map(({ lambda }) => lambda[j]!);
    return {
      l: parzenDensity(at.slice(0, good), low, upper[j]!),
      g: parzenDensity(at.slice(good), low, upper[j]!),
    };
  });
  let best: { point: Float64Array; score: number } | undefined;
  for (let k = 0; k < candidates; k++) {
    let score = 0;
    const point = lower.map((low, j) => {
      const axis = axes[j];
      if (!axis) return low;
      const x = axis.l.draw(stream);
      score += Math.log(axis.l.density(x)) - Math.log(axis.g.density(x));
      return x;
    });
    if (!best || score > best.score) best = { point, score };
  }
  return best!.point;
}

/**
 * Bayesian optimization by tree-structured Parzen estimators; each candidate is trained from the solution of the one before.
 *
 * @throws RangeError for options out of range or an unbounded box. @throws Error, naming the hyperparameters, when the inner
 *   problem returns something that is not finite.
 */
export function parzenSearch({
  tolerance = 1e-4,
  quantile = 0.25,
  randomPoints = 8,
  candidates = 24,
}: ParzenOptions = {}): HyperparameterSolver {
  if (!(tolerance > 0)) throw new RangeError(`parzenSearch: tolerance must be positive, got ${tolerance}`);
  if (!(quantile > 0 && quantile < 1))
    throw new RangeError(`parzenSearch: quantile must be between 0 and 1, got ${quantile}`);
  for (const [name, value] of Object.entries({ randomPoints, candidates }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`parzenSearch: ${name} must be a whole number from 1, got ${value}`);
  return (unchecked, options) => {
    if (!(options.maxWork >= 1))
      throw new RangeError(`parzenSearch: maxWork must be at least 1, got ${options.maxWork}`);
    const problem = checkedProblem("parzenSearch", unchecked);
    const { lower, upper } = problem;
    lower.forEach((low, j) => {
      if (!Number.isFinite(upper[j]! - low))
        throw new RangeError(`parzenSearch: hyperparameter ${j} needs finite bounds`);
    });
    const stream = randomStream(options.seed, "Parzen search");
    return tryAll(
      problem,
      (history) =>
        history.length < randomPoints
          ? lower.map((low, j) => low + (upper[j]! - low) * stream.uniform())
          : proposePoint(history, lower, upper, stream, { quantile, candidates }),
      options,
      tolerance,
    );
  };
}
