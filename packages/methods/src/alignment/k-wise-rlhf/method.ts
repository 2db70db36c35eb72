import { choleskyFactor, choleskySolve, type Matrix, matrix, norm } from "@prior-art/toolkit/linalg";
import type { RandomStream } from "@prior-art/toolkit/stats";

/** Alternatives in the order of preference, best first. */
export interface Ranking {
  /** φ of each alternative, `[K]` vectors of the same length. */
  readonly features: readonly ArrayLike<number>[];
  /** How often it was observed, 1 by default. */
  readonly count?: number;
}

/**
 * What is made of a ranking of K: Plackett and Luce's likelihood of the whole order (MLE_K), the likelihoods of all pairs as if
 * they were independent (MLE_2), or that of the best alternative only.
 */
export type Split = "full" | "pairs" | "top";

/** A term `−log softmax(θᵀφ)[first]` over some of a ranking's alternatives. */
const termsOf = (alternatives: number, split: Split): (readonly number[])[] => {
  const from = (k: number) => Array.from({ length: alternatives - k }, (_, i) => k + i);
  if (split === "top") return [from(0)];
  if (split === "full") return from(0).slice(0, -1).map(from);
  return from(0).flatMap((j) => from(j + 1).map((k) => [j, k]));
};

interface Expansion {
  loss: number;
  readonly gradient: Float64Array;
  readonly hessian: Matrix;
}

/** Loss, gradient and Hessian of the negative log-likelihood; `score`, when given, gets each ranking's own gradient. */
function expand(
  rankings: readonly Ranking[],
  theta: Float64Array,
  split: Split,
  score?: (gradient: Float64Array, count: number) => void,
): Expansion {
  const d = theta.length;
  const total: Expansion = { loss: 0, gradient: new Float64Array(d), hessian: matrix(d, d) };
  const h = total.hessian.values;
  const [own, average] = [new Float64Array(d), new Float64Array(d)];
  for (const { features, count = 1 } of rankings) {
    const rewards = features.map((phi) => dot(phi, theta));
    own.fill(0);
    for (const members of termsOf(features.length, split)) {
      const top = Math.max(...members.map((i) => rewards[i]!));
      const weights = members.map((i) => Math.exp(rewards[i]! - top));
      const sum = weights.reduce((a, b) => a + b, 0);
      total.loss += count * (top + Math.log(sum) - rewards[members[0]!]!);
      average.fill(0);
      members.forEach((i, k) => {
        const p = weights[k]! / sum;
        const phi = features[i]!;
        for (let a = 0; a < d; a++) {
          const scaled = p * phi[a]!;
          average[a]! += scaled;
          for (let b = 0; b <= a; b++) h[a * d + b]! += count * scaled * phi[b]!;
        }
      });
      const best = features[members[0]!]!;
      for (let a = 0; a < d; a++) {
        own[a]! += average[a]! - best[a]!;
        for (let b = 0; b <= a; b++) h[a * d + b]! -= count * average[a]! * average[b]!;
      }
    }
    for (let a = 0; a < d; a++) total.gradient[a]! += count * own[a]!;
    score?.(own, count);
  }
  for (let a = 0; a < d; a++) for (let b = 0; b < a; b++) h[b * d + a] = h[a * d + b]!;
  return total;
}

/** Log-likelihood of rankings at θ (for `"pairs"`, of all their pairs). */
export const rankingLogLikelihood = (
  rankings: readonly Ranking[],
  theta: ArrayLike<number>,
  split: Split = "full",
): number => -expand(rankings, Float64Array.from(theta), split).loss;

/** Its gradient by θ. */
export const rankingScore = (
  rankings: readonly Ranking[],
  theta: ArrayLike<number>,
  split: Split = "full",
): Float64Array => expand(rankings, Float64Array.from(theta), split).gradient.map((g) => -g);

export interface FitOptions {
  readonly split?: Split;
  /** `‖θ‖ ≤ B`; none by default. */
  readonly bound?: number;
  /** Added to the Hessian's diagonal, 1e-8 by default: directions that nothing tells about stay at 0. */
  readonly ridge?: number;
}

/**
 * Maximum likelihood of linear rewards `r = θᵀφ` from rankings, by Newton's method with step halving; a norm bound is kept
 * by the ridge that it takes.
 * @throws RangeError without rankings, or when features differ in length.
 */
export function fitRewards(rankings: readonly Ranking[], options: FitOptions = {}): Float64Array {
  const { split = "full", bound, ridge = 1e-8 } = options;
  const d = rankings[0]?.features[0]?.length;
  if (d === undefined || rankings.some(({ features }) => features.some((phi) => phi.length !== d)))
    throw new RangeError("fitRewards: takes rankings of features of one length");
  const free = newton(rankings, d, split, ridge);
  if (bound === undefined || norm(free) <= bound) return free;
  let [low, high] = [Math.log(ridge), Math.log(1e6)];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (norm(newton(rankings, d, split, Math.exp(middle))) > bound) low = middle;
    else high = middle;
  }
  return newton(rankings, d, split, Math.exp(high));
}

function newton(rankings: readonly Ranking[], d: number, split: Split, ridge: number): Float64Array {
  let theta: Float64Array = new Float64Array(d);
  const penalized = (at: Float64Array, loss: number): number => loss + (ridge / 2) * dot(at, at);
  let now = expand(rankings, theta, split);
  for (let iteration = 0; iteration < 100; iteration++) {
    const gradient = now.gradient.map((g, a) => g + ridge * theta[a]!);
    for (let a = 0; a < d; a++) now.hessian.values[a * d + a]! += ridge + 1e-12;
    const step = choleskySolve(choleskyFactor(now.hessian), gradient);
    const before = penalized(theta, now.loss);
    let size = 1;
    let next = theta;
    for (; size > 1e-8; size /= 2) {
      next = theta.map((x, a) => x - size * step[a]!);
      const trial = expand(rankings, next, split);
      if (penalized(next, trial.loss) <= before + 1e-12 * Math.abs(before)) {
        now = trial;
        break;
      }
    }
    theta = next;
    if (norm(step) * size < 1e-10 * (1 + norm(theta))) break;
  }
  return theta;
}

/** `Σ_D = 2/(K(K−1)n) Σ Σ_{j<k} (φ_j − φ_k)(φ_j − φ_k)ᵀ`: what the comparisons cover. */
export function comparisonCovariance(rankings: readonly Ranking[]): Matrix {
  const d = rankings[0]!.features[0]!.length;
  const covariance = matrix(d, d);
  let n = 0;
  for (const { features, count = 1 } of rankings) {
    n += count;
    const pairs = (features.length * (features.length - 1)) / 2;
    for (const [j, k] of termsOf(features.length, "pairs") as (readonly [number, number])[])
      for (let a = 0; a < d; a++)
        for (let b = 0; b < d; b++)
          covariance.values[a * d + b]! +=
            (count / pairs) * (features[j]![a]! - features[k]![a]!) * (features[j]![b]! - features[k]![b]!);
  }
  return matrix(
    d,
    d,
    covariance.values.map((x) => x / n),
  );
}

/**
 * Covariance of the estimate by the sandwich `H⁻¹ V H⁻¹`, with V the sum of the rankings' own score outer products. For
 * `"full"` it comes to the inverse Fisher information.
 */
export function sandwichCovariance(
  rankings: readonly Ranking[],
  theta: ArrayLike<number>,
  split: Split,
): Matrix {
  const d = theta.length;
  const scores = matrix(d, d);
  const { hessian } = expand(rankings, Float64Array.from(theta), split, (own, count) => {
    for (let a = 0; a < d; a++)
      for (let b = 0; b < d; b++) scores.values[a * d + b]! += count * own[a]! * own[b]!;
  });
  const factor = choleskyFactor(hessian);
  const solveColumns = (m: Matrix): Matrix => {
    const solved = matrix(d, d);
    for (let column = 0; column < d; column++) {
      const x = choleskySolve(
        factor,
        Float64Array.from({ length: d }, (_, row) => m.values[row * d + column]!),
      );
      x.forEach((value, row) => {
        solved.values[row * d + column] = value;
      });
    }
    return solved;
  };
  const half = solveColumns(scores);
  const transposed = matrix(
    d,
    d,
    half.values.map((_, i) => half.values[(i % d) * d + Math.floor(i / d)]!),
  );
  return solveColumns(transposed);
}

export interface PessimismOptions {
  /** `[d]` */
  readonly theta: ArrayLike<number>;
  /** Σ_D */
  readonly covariance: Matrix;
  /** λ */
  readonly regularization: number;
  /** f: radius of the confidence set in the norm of `Σ_D + λI`. */
  readonly radius: number;
  /** v, which rewards are compared with. */
  readonly reference: ArrayLike<number>;
}

/**
 * The pessimistic value `Ĵ = θ̂ᵀ(φ − v) − f ‖(Σ_D + λI)^(−½)(φ − v)‖` of an expected feature vector: the least that its reward,
 * over that of the reference, can be within the confidence set.
 * @throws RangeError when λ is 0 and the comparisons leave a direction out.
 */
export function pessimisticValue(phi: ArrayLike<number>, options: PessimismOptions): number {
  const { theta, covariance, regularization, radius, reference } = options;
  const d = covariance.rows;
  const regular = matrix(
    d,
    d,
    covariance.values.map((x, i) => (i % (d + 1) === 0 ? x + regularization : x)),
  );
  const shifted = Float64Array.from(phi, (x, a) => x - reference[a]!);
  const solved = choleskySolve(choleskyFactor(regular), shifted);
  return dot(shifted, theta) - radius * Math.sqrt(Math.max(0, dot(shifted, solved)));
}

/** An order of alternatives drawn from Plackett and Luce's model, best first. */
export function samplePlackettLuce(rewards: ArrayLike<number>, stream: RandomStream): number[] {
  // Adding Gumbel noise and sorting draws without replacement in proportion to exp(reward).
  const keys = Array.from(rewards, (r) => r - Math.log(-Math.log(Math.max(stream.uniform(), 1e-300))));
  return keys.map((_, i) => i).sort((i, j) => keys[j]! - keys[i]!);
}

function dot(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}
