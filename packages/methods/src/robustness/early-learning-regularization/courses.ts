import type { CoursePoint } from "../noisyDigitsCourse.ts";
import { linearCourse } from "./linearModel.ts";

export type Metrics = {
  /** At the end: wrongly labelled examples assigned to their true class, and to their wrong label. */
  readonly wrongTrue: number;
  readonly memorized: number;
  /** The largest `wrongTrue` on the way. */
  readonly peakWrongTrue: number;
  /** At the end. */
  readonly validationAccuracy: number;
  readonly testAccuracy: number;
  /** Test accuracy at the point of the curve where validation accuracy is highest. */
  readonly stoppedTestAccuracy: number;
  /** Abscissae of the curves: epochs, or steps of the linear model. */
  readonly time: readonly number[];
  readonly wrongTrueCurve: readonly number[];
  readonly testCurve: readonly number[];
  /** Linear model: smallest alignment of the descent with the separator before T. */
  readonly earlyAlignment: readonly number[];
  /** Linear model: fall of the right and rise of the wrong examples' squared coefficients from 0 to T. */
  readonly coefficientChanges: readonly number[];
  /** Linear model: share of all examples assigned to their observed label at the end. */
  readonly fitted: readonly number[];
};

/** Standard normal distribution function (Abramowitz & Stegun 7.1.26; absolute error below 2e-7). */
function normalCdf(z: number): number {
  const t = 1 / (1 + 0.3275911 * (Math.abs(z) / Math.SQRT2));
  const tail =
    t *
    (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) *
    Math.exp((-z * z) / 2);
  return z >= 0 ? 1 - tail / 2 : tail / 2;
}

const SPREAD = 0.2;
/** T of Theorem 1 is where θᵀv reaches this, about twice what random initializations differ by at this size. */
const TURN = 0.3;

const LINEAR_STEPS = 1000;

/** Of gradient descent on the linear model. */
export function linearMetrics(seed: number): Metrics {
  const steps = LINEAR_STEPS;
  const course = linearCourse({
    examples: 300,
    dimension: 270,
    corruption: 0.4,
    spread: SPREAD,
    stepSize: 0.5,
    steps,
    seed,
  });
  const turn = course.signal.findIndex((value) => value >= TURN);
  const points = Array.from({ length: 60 }, (_, i) => Math.round((steps + 1) ** (i / 59)) - 1);
  const time = [...new Set(points)];
  const at = (curve: Float64Array): number[] => time.map((step) => curve[step]!);
  // A fresh example is on the right side with probability Φ(θᵀv / (σ ‖θ‖)).
  const test = course.signal.map((signal, step) => normalCdf(signal / (SPREAD * course.norm[step]!)));
  const wrongTrue = course.wrongTrue[steps]!;
  return {
    wrongTrue,
    memorized: 1 - wrongTrue,
    peakWrongTrue: Math.max(...course.wrongTrue),
    validationAccuracy: test[steps]!,
    testAccuracy: test[steps]!,
    stoppedTestAccuracy: Math.max(...test),
    time: time.map((step) => step + 1),
    wrongTrueCurve: at(course.wrongTrue),
    testCurve: at(test),
    earlyAlignment: [Math.min(...course.alignment.subarray(0, turn))],
    coefficientChanges: [
      course.rightCoefficients[0]! - course.rightCoefficients[turn]!,
      course.wrongCoefficients[turn]! - course.wrongCoefficients[0]!,
    ],
    fitted: [course.fitted[steps]!],
  };
}

/** Of a network trained on digits with wrong labels. */
export function digitsMetrics(points: readonly CoursePoint[]): Metrics {
  const last = points.at(-1)!;
  const stop = points.reduce((best, point) => (point.validation > best.validation ? point : best));
  return {
    wrongTrue: last.wrongTrue,
    memorized: last.memorized,
    peakWrongTrue: Math.max(...points.map((point) => point.wrongTrue)),
    validationAccuracy: last.validation,
    testAccuracy: last.test,
    stoppedTestAccuracy: stop.test,
    time: points.map((point) => point.epoch),
    wrongTrueCurve: points.map((point) => point.wrongTrue),
    testCurve: points.map((point) => point.test),
    earlyAlignment: [],
    coefficientChanges: [],
    fitted: [],
  };
}
