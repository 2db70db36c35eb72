/** A strictly convex function on a domain whose linear minimization has a solution by formula or by one root. */
export interface Regularizer {
  readonly name: string;
  /** R(x). */
  value(x: Float64Array): number;
  /** ∇R(x), up to a multiple of the all-ones vector on the simplex. */
  gradient(x: Float64Array): Float64Array;
  /** argmin over the domain of ⟨loss, x⟩ + R(x); the caller multiplies losses by the learning rate. */
  minimize(loss: Float64Array): Float64Array;
}

/** One step of mirror descent: argmin η⟨g, z⟩ + D_R(z, x). */
export function mirrorStep(
  regularizer: Regularizer,
  x: Float64Array,
  gradient: Float64Array,
  rate: number,
): Float64Array {
  const dual = regularizer.gradient(x);
  return regularizer.minimize(gradient.map((g, i) => rate * g - dual[i]!));
}

/** D_R(x, y) = R(x) − R(y) − ⟨∇R(y), x − y⟩. */
export function bregmanDivergence(regularizer: Regularizer, x: Float64Array, y: Float64Array): number {
  const dual = regularizer.gradient(y);
  const slope = dual.reduce((sum, d, i) => sum + d * (x[i]! - y[i]!), 0);
  return regularizer.value(x) - regularizer.value(y) - slope;
}

const sum = (x: Float64Array, term: (xi: number) => number): number =>
  x.reduce((total, xi) => total + term(xi), 0);

/** Σ x log x on the simplex: exponential weights. */
export const entropy: Regularizer = {
  name: "entropy",
  value: (x) => sum(x, (p) => (p > 0 ? p * Math.log(p) : 0)),
  gradient: (x) => x.map((p) => Math.log(p)),
  minimize(loss) {
    const best = loss.reduce((a, b) => Math.min(a, b));
    const weights = loss.map((l) => Math.exp(best - l));
    const total = sum(weights, (w) => w);
    return weights.map((w) => w / total);
  },
};

/** −Σ log x on the simplex. */
export const logBarrier: Regularizer = {
  name: "log-barrier",
  value: (x) => -sum(x, Math.log),
  gradient: (x) => x.map((p) => -1 / p),
  minimize: (loss) => normalized(loss, (d) => 1 / d, 1),
};

/**
 * (1 − Σ xᵅ)/(1 − α) on the simplex, the negative Tsallis entropy with power α in (0, 1); ½ is Tsallis-INF's.
 *
 * @throws RangeError on an α outside (0, 1).
 */
export function tsallis(alpha = 0.5): Regularizer {
  if (!(alpha > 0 && alpha < 1)) throw new RangeError(`tsallis: alpha must be in (0, 1), got ${alpha}`);
  const scale = alpha / (1 - alpha);
  return {
    name: `Tsallis-${alpha}`,
    value: (x) => (1 - sum(x, (p) => p ** alpha)) / (1 - alpha),
    gradient: (x) => x.map((p) => -scale * p ** (alpha - 1)),
    minimize: (loss) => normalized(loss, (d) => (d / scale) ** (-1 / (1 - alpha)), scale),
  };
}

/** ½‖x‖² on the simplex: projected gradient descent (sort and threshold). */
export const euclideanSimplex: Regularizer = {
  name: "Euclidean",
  value: (x) => sum(x, (v) => v * v) / 2,
  gradient: (x) => x.slice(),
  minimize(loss) {
    const sorted = loss.map((l) => -l).sort();
    let total = 0;
    let threshold = 0;
    for (let k = 1; k <= sorted.length; k++) {
      const value = sorted[sorted.length - k]!;
      total += value;
      if (value - (total - 1) / k > 0) threshold = (total - 1) / k;
    }
    return loss.map((l) => Math.max(0, -l - threshold));
  },
};

/** ½‖x‖² on the ball of a radius about 0, or on all of space when the radius is Infinity. */
export function euclideanBall(radius = Number.POSITIVE_INFINITY): Regularizer {
  return {
    name: "Euclidean ball",
    value: euclideanSimplex.value,
    gradient: (x) => x.slice(),
    minimize(loss) {
      const norm = Math.sqrt(sum(loss, (l) => l * l));
      const factor = norm > radius ? radius / norm : 1;
      return loss.map((l) => -l * factor);
    },
  };
}

/**
 * x_i = inverse(loss_i + ν) with ν such that they sum to 1, by bisection in d = min loss + ν > 0; `inverse` falls from
 * ∞ to 0 and is 1 at `unit`.
 */
function normalized(loss: Float64Array, inverse: (d: number) => number, unit: number): Float64Array {
  const best = loss.reduce((a, b) => Math.min(a, b));
  const total = (d: number): number => {
    let mass = 0;
    for (let i = 0; i < loss.length; i++) mass += inverse(loss[i]! - best + d);
    return mass;
  };
  let low = unit;
  let high = unit;
  while (total(high) > 1) high *= 2;
  while (high - low > 1e-14 * high) {
    const middle = (low + high) / 2;
    if (total(middle) > 1) low = middle;
    else high = middle;
  }
  const x = loss.map((l) => inverse(l - best + high));
  const mass = sum(x, (p) => p);
  return x.map((p) => p / mass);
}
