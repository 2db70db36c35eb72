import { fitNormOptimum, fitScaling } from "./method.ts";
import type { SweepPoint } from "./sweep.ts";

/** The best norm and rate of one width, D and B. */
export interface Optimum {
  readonly width: number;
  readonly tokens: number;
  readonly batch: number;
  readonly logNorm: number;
  readonly logRate: number;
  readonly loss: number;
  /** 1 when a parabola's vertex lies among the points, for the norm and the rate; 0 when the lowest point stands in. */
  readonly insideNorm: number;
  readonly insideRate: number;
}

/** The loss's optimum along a coordinate: a parabola through the five points around the lowest, or the lowest. */
export function optimumAlong(points: readonly SweepPoint[], coordinate: (point: SweepPoint) => number) {
  const finite = points.filter(({ loss, logNorm }) => Number.isFinite(loss) && Number.isFinite(logNorm));
  const lowest = finite.reduce((a, b) => (b.loss < a.loss ? b : a));
  try {
    const samples = finite.map((point) => ({ logNorm: coordinate(point), loss: point.loss }));
    const { logNormStar, lossStar, inside } = fitNormOptimum(samples, { nearest: 5 });
    if (inside) return { at: logNormStar, loss: lossStar, inside: 1 };
  } catch {
    // No minimum within the points: the lowest of them stands in.
  }
  return { at: coordinate(lowest), loss: lowest.loss, inside: 0 };
}

/** Optima of each D and B. */
export function optimaOf(width: number, points: readonly SweepPoint[]): Optimum[] {
  const tokens = [...new Set(points.map((point) => point.tokens))];
  return tokens.flatMap((horizon) =>
    [...new Set(points.map((point) => point.batch))].flatMap((batch) => {
      const of = points.filter((point) => point.tokens === horizon && point.batch === batch);
      if (of.length === 0) return [];
      const norm = optimumAlong(of, ({ logNorm }) => logNorm);
      const rate = optimumAlong(of, ({ logRate }) => logRate);
      return {
        width,
        tokens: horizon,
        batch,
        logNorm: norm.at,
        logRate: rate.at,
        loss: rate.loss,
        insideNorm: norm.inside,
        insideRate: rate.inside,
      };
    }),
  );
}

/** Of the optima of each D and width, that of the best batch. */
export function bestBatches(optima: readonly Optimum[]): Optimum[] {
  const kept = new Map<string, Optimum>();
  for (const optimum of optima) {
    const name = `${optimum.width}/${optimum.tokens}`;
    const before = kept.get(name);
    if (!before || optimum.loss < before.loss) kept.set(name, optimum);
  }
  return [...kept.values()];
}

/** Change of log₂ n* from the smallest D to the largest, by its least-squares slope in log₂ D. */
export function normDrift(optima: readonly Pick<Optimum, "tokens" | "logNorm">[]): number {
  const horizons = optima.map(({ tokens }) => tokens);
  const { exponents } = fitScaling(
    optima.map(({ tokens, logNorm }) => ({ at: { tokens }, value: 2 ** logNorm })),
  );
  return exponents.tokens! * Math.log2(Math.max(...horizons) / Math.min(...horizons));
}

/** Loss at a norm, between the two models around it; NaN beyond all of them. */
export function lossAtNorm(points: readonly SweepPoint[], logNorm: number): number {
  const sorted = points.filter(({ loss }) => Number.isFinite(loss)).sort((a, b) => a.logNorm - b.logNorm);
  const right = sorted.findIndex((point) => point.logNorm >= logNorm);
  if (right <= 0) return Number.NaN;
  const [a, b] = [sorted[right - 1]!, sorted[right]!];
  const share = (logNorm - a.logNorm) / (b.logNorm - a.logNorm);
  return a.loss + share * (b.loss - a.loss);
}
