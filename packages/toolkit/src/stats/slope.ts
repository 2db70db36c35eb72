import jstat from "jstat";
import { linearRegression, mean } from "simple-statistics";
import type { Interval } from "./bootstrap.ts";

export interface SlopeFit {
  readonly slope: number;
  readonly intercept: number;
  /** Student-t interval of the slope under independent residuals; unbounded with fewer than three points. */
  readonly interval: Interval;
  readonly rSquared: number;
}

/**
 * Least-squares line with a confidence interval for its slope.
 *
 * @throws RangeError on fewer than two points, unequal lengths, or abscissae that are all the same.
 */
export function linearSlope(x: readonly number[], y: readonly number[], confidence = 0.95): SlopeFit {
  if (x.length !== y.length) throw new RangeError(`slope: ${x.length} abscissae, ${y.length} ordinates`);
  if (x.length < 2) throw new RangeError("slope: needs at least two points");
  const { m: slope, b: intercept } = linearRegression(x.map((value, i) => [value, y[i]!]));
  const [meanX, meanY] = [mean(x as number[]), mean(y as number[])];
  let spreadX = 0;
  let spreadY = 0;
  let residual = 0;
  for (let i = 0; i < x.length; i++) {
    spreadX += (x[i]! - meanX) ** 2;
    spreadY += (y[i]! - meanY) ** 2;
    residual += (y[i]! - intercept - slope * x[i]!) ** 2;
  }
  if (!(spreadX > 0)) throw new RangeError("slope: the abscissae are all the same");
  const degreesOfFreedom = x.length - 2;
  const halfWidth =
    degreesOfFreedom > 0
      ? jstat.jStat.studentt.inv((1 + confidence) / 2, degreesOfFreedom) *
        Math.sqrt(residual / degreesOfFreedom / spreadX)
      : Number.POSITIVE_INFINITY;
  return {
    slope,
    intercept,
    interval: { low: slope - halfWidth, high: slope + halfWidth },
    rSquared: spreadY > 0 ? 1 - residual / spreadY : 1,
  };
}

/**
 * The exponent of a power law y ∝ xᵖ: slope of log y on log x, with its interval.
 *
 * @throws RangeError when a value is not positive and finite.
 */
export function logLogSlope(x: readonly number[], y: readonly number[], confidence = 0.95): SlopeFit {
  for (const values of [x, y]) {
    const bad = values.findIndex((value) => !(value > 0 && value < Number.POSITIVE_INFINITY));
    if (bad >= 0) throw new RangeError(`logLogSlope: value ${values[bad]} at ${bad} has no finite logarithm`);
  }
  return linearSlope(x.map(Math.log), y.map(Math.log), confidence);
}
