import jstat from "jstat";

/** The value that a standard normal stays below with the given probability. */
export function normalQuantile(probability: number): number {
  return jstat.jStat.normal.inv(probability, 0, 1);
}

/** P(χ² ≤ x). */
export function chiSquareCdf(x: number, degreesOfFreedom: number): number {
  return jstat.jStat.chisquare.cdf(x, degreesOfFreedom);
}

/** The value that χ² stays below with the given probability. */
export function chiSquareQuantile(probability: number, degreesOfFreedom: number): number {
  return jstat.jStat.chisquare.inv(probability, degreesOfFreedom);
}
