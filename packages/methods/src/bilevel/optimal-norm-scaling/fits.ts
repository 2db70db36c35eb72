import { choleskyFactor, choleskySolve, matrix } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";

export interface NormPoint {
  /** log₂ of the output norm, or of whatever the loss is a parabola in. */
  readonly logNorm: number;
  readonly loss: number;
}

export interface NormOptimum {
  /** Vertex. */
  readonly logNormStar: number;
  readonly lossStar: number;
  /** Second derivative of the loss in the logarithm. */
  readonly curvature: number;
  /** 95% interval of the vertex by resampling residuals; the vertex twice where nothing is left to resample. */
  readonly ci: readonly [low: number, high: number];
  /** Whether the vertex lies between the points that were used. */
  readonly inside: boolean;
}

export interface NormFitOptions {
  /** Points used around the lowest, the lowest included; all by default. */
  readonly nearest?: number;
}

/**
 * The optimum of a parabola through the loss by log₂ norm, by least squares.
 *
 * @throws RangeError for fewer than three different norms, or values that are not finite. @throws Error, with the curvature, when the
 *   parabola opens downwards.
 */
export function fitNormOptimum(points: readonly NormPoint[], { nearest }: NormFitOptions = {}): NormOptimum {
  for (const { logNorm, loss } of points)
    if (!(Number.isFinite(logNorm) && Number.isFinite(loss)))
      throw new RangeError(`fitNormOptimum: a loss of ${loss} at a log norm of ${logNorm} can't be fitted`);
  const used = nearest === undefined ? points : around(points, nearest);
  if (new Set(used.map(({ logNorm }) => logNorm)).size < 3)
    throw new RangeError(`fitNormOptimum: three different norms are needed, got ${used.length} points`);
  const center = used.reduce((total, { logNorm }) => total + logNorm, 0) / used.length;
  const fit = (losses: readonly number[]): readonly [number, number, number] => {
    const [normal, right] = [matrix(3, 3), new Float64Array(3)];
    used.forEach(({ logNorm }, k) => {
      const powers = [1, logNorm - center, (logNorm - center) ** 2];
      for (let i = 0; i < 3; i++) {
        right[i]! += powers[i]! * losses[k]!;
        for (let j = 0; j < 3; j++) normal.values[3 * i + j]! += powers[i]! * powers[j]!;
      }
    });
    const [a, b, c] = choleskySolve(choleskyFactor(normal), right);
    return [a!, b!, c!];
  };
  const losses = used.map(({ loss }) => loss);
  const [a, b, c] = fit(losses);
  if (!(c > 0)) throw new Error(`fitNormOptimum: the losses have no minimum; their curvature is ${2 * c}`);
  const fitted = used.map(({ logNorm }) => a + b * (logNorm - center) + c * (logNorm - center) ** 2);
  const residuals = losses.map((loss, k) => loss - fitted[k]!);
  const vertex = center - b / (2 * c);
  const stream = randomStream(0, "parabola");
  const scale = Math.sqrt(used.length / Math.max(1, used.length - 3));
  const vertices = Array.from({ length: used.length > 3 ? 400 : 0 }, () => {
    const [, slope, bend] = fit(
      fitted.map((value) => value + scale * residuals[stream.integer(used.length)]!),
    );
    return bend > 0 ? center - slope / (2 * bend) : Number.NaN;
  })
    .filter(Number.isFinite)
    .sort((x, y) => x - y);
  const at = (q: number): number => vertices[Math.round(q * (vertices.length - 1))] ?? vertex;
  const norms = used.map(({ logNorm }) => logNorm);
  return {
    logNormStar: vertex,
    lossStar: a - b ** 2 / (4 * c),
    curvature: 2 * c,
    ci: [at(0.025), at(0.975)],
    inside: vertex >= Math.min(...norms) && vertex <= Math.max(...norms),
  };
}

/** The lowest point and its neighbours in norm, as evenly on both sides as there are points. */
function around(points: readonly NormPoint[], count: number): readonly NormPoint[] {
  const sorted = [...points].sort((x, y) => x.logNorm - y.logNorm);
  const lowest = sorted.reduce((best, point, i) => (point.loss < sorted[best]!.loss ? i : best), 0);
  const from = Math.max(0, Math.min(sorted.length - count, lowest - Math.floor(count / 2)));
  return sorted.slice(from, from + count);
}

export interface ScalingPoint {
  /** Positive, e.g. `{ tokens, batch }`. */
  readonly at: Readonly<Record<string, number>>;
  /** Positive. */
  readonly value: number;
}

export interface Scaling {
  /** `value ≈ scale · Π at^exponent`. */
  readonly exponents: Readonly<Record<string, number>>;
  readonly scale: number;
  /** 95% intervals of the exponents, by resampling points. */
  readonly ci: Readonly<Record<string, readonly [low: number, high: number]>>;
}

/**
 * Power laws by least squares in logarithms.
 * @throws RangeError when a number is not positive, names differ, or the points do not determine the exponents.
 */
export function fitScaling(points: readonly ScalingPoint[]): Scaling {
  const names = Object.keys(points[0]?.at ?? {});
  if (names.length === 0) throw new RangeError("fitScaling: no points, or nothing that they vary in");
  for (const { at, value } of points)
    if (!(value > 0) || names.some((name) => !(at[name]! > 0)) || Object.keys(at).length !== names.length)
      throw new RangeError(
        `fitScaling: takes positive numbers of ${names.join(", ")}, got ${value} at ${JSON.stringify(at)}`,
      );
  const solve = (sample: readonly ScalingPoint[]): Float64Array => {
    const size = names.length + 1;
    const [normal, right] = [matrix(size, size), new Float64Array(size)];
    for (const { at, value } of sample) {
      const row = [1, ...names.map((name) => Math.log(at[name]!))];
      for (let i = 0; i < size; i++) {
        right[i]! += row[i]! * Math.log(value);
        for (let j = 0; j < size; j++) normal.values[i * size + j]! += row[i]! * row[j]!;
      }
    }
    return choleskySolve(choleskyFactor(normal), right);
  };
  const attempt = (sample: readonly ScalingPoint[]): Float64Array | undefined => {
    try {
      const found = solve(sample);
      return found.every(Number.isFinite) ? found : undefined;
    } catch {
      return undefined;
    }
  };
  const found = attempt(points);
  if (!found || points.length <= names.length)
    throw new RangeError(
      `fitScaling: ${points.length} points do not determine the exponents of ${names.join(", ")}`,
    );
  const stream = randomStream(0, "scaling");
  const draws = Array.from({ length: 400 }, () =>
    attempt(points.map(() => points[stream.integer(points.length)]!)),
  ).filter((draw) => draw !== undefined);
  const interval = (k: number): readonly [number, number] => {
    const sorted = draws.map((draw) => draw[k]!).sort((x, y) => x - y);
    const at = (q: number): number => sorted[Math.round(q * (sorted.length - 1))] ?? found[k]!;
    return [at(0.025), at(0.975)];
  };
  return {
    exponents: Object.fromEntries(names.map((name, k) => [name, found[k + 1]!])),
    scale: Math.exp(found[0]!),
    ci: Object.fromEntries(names.map((name, k) => [name, interval(k + 1)])),
  };
}
