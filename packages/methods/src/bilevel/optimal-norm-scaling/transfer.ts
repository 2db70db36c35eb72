import { mean } from "@prior-art/toolkit/stats";
import type { Optimum } from "./optima.ts";
import type { SweepPoint } from "./sweep.ts";

/** The best rate of one width and D, and the models of all rates at its batch. */
export interface Tuned {
  readonly optimum: Pick<Optimum, "logRate">;
  readonly points: readonly SweepPoint[];
}

const byRate = (points: readonly SweepPoint[]): SweepPoint[] =>
  points.filter(({ logNorm }) => Number.isFinite(logNorm)).sort((a, b) => a.logRate - b.logRate);

/** Norm that a rate ends at and how fast it grows there, both in log₂, on the line between the two models around the rate. */
export function normAt(
  points: readonly SweepPoint[],
  logRate: number,
): { readonly logNorm: number; readonly slope: number } {
  const sorted = byRate(points);
  const above = sorted.findIndex((point) => point.logRate >= logRate);
  const right = above === -1 ? sorted.length - 1 : Math.max(1, above);
  const [a, b] = [sorted[right - 1]!, sorted[right]!];
  const slope = (b.logNorm - a.logNorm) / (b.logRate - a.logRate);
  return { logNorm: a.logNorm + slope * (logRate - a.logRate), slope };
}

/** The smallest rate that ends at a norm, on lines between models; the nearest model's where none does. */
export function rateAt(points: readonly SweepPoint[], logNorm: number): number {
  const sorted = byRate(points);
  for (const [i, b] of sorted.entries()) {
    const a = sorted[i - 1];
    if (!a || (a.logNorm - logNorm) * (b.logNorm - logNorm) > 0) continue;
    const share = a.logNorm === b.logNorm ? 0 : (logNorm - a.logNorm) / (b.logNorm - a.logNorm);
    return a.logRate + share * (b.logRate - a.logRate);
  }
  return sorted.reduce((best, point) =>
    Math.abs(point.logNorm - logNorm) < Math.abs(best.logNorm - logNorm) ? point : best,
  ).logRate;
}

/**
 * How far, in log₂ η, each one's best rate is from the rate that ends at the mean of the others' optimal norms, and from the mean of
 * the others' best rates. Both in one unit: a norm that is the same function of the rate everywhere, which makes optimal norms as close
 * together as the function is flat, gives equal errors; a norm that is the same at every optimum gives none.
 */
export function transferErrors(tuned: readonly Tuned[]): {
  readonly byNorm: readonly number[];
  readonly byRate: readonly number[];
} {
  const rates = tuned.map(({ optimum }) => optimum.logRate);
  const norms = tuned.map(({ points }, i) => normAt(points, rates[i]!).logNorm);
  const others = (values: readonly number[], own: number): number => mean(values.filter((_, i) => i !== own));
  return {
    byNorm: tuned.map(({ points }, i) => rateAt(points, others(norms, i)) - rates[i]!),
    byRate: rates.map((rate, i) => others(rates, i) - rate),
  };
}
