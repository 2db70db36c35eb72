import { randomStream } from "@prior-art/toolkit/stats";

export interface LinearProblem {
  /** n */
  readonly examples: number;
  /** p; Theorem 1 asks for p/n between 1 - Δ/2 and 1. */
  readonly dimension: number;
  /** Δ: a label is replaced by a fair coin with this probability, so that Δ/2 of them are wrong. */
  readonly corruption: number;
  /** σ, the spread around the class means ±v of length 1. */
  readonly spread: number;
  /** η */
  readonly stepSize: number;
  readonly steps: number;
  readonly seed: number;
}

/** A number before each step, and after the last. */
export interface LinearCourse {
  /** Share of the wrongly labelled examples that are assigned to their true class. */
  readonly wrongTrue: Float64Array;
  /** Share of all examples that are assigned to their observed label. */
  readonly fitted: Float64Array;
  /** Cosine of the negative gradient and the true separator v. */
  readonly alignment: Float64Array;
  /** θᵀv and ‖θ‖ */
  readonly signal: Float64Array;
  readonly norm: Float64Array;
  /** Mean square of tanh(θᵀx) - ε, the gradient's coefficients, over examples with right and with wrong labels. */
  readonly rightCoefficients: Float64Array;
  readonly wrongCoefficients: Float64Array;
}

/**
 * Gradient descent on the logistic loss of two Gaussian classes with partly wrong labels, in the form of Appendix A:
 * labels ε = ±1, one vector θ from the sphere of radius 2, gradient `1/2n Σ x (tanh θᵀx - ε)`.
 * @throws RangeError unless sizes, spread, step size and steps are positive and `0 < corruption < 1`.
 */
export function linearCourse(problem: LinearProblem): LinearCourse {
  const { examples: n, dimension: p, corruption, spread, stepSize, steps, seed } = problem;
  if (!([n, p, spread, stepSize, steps].every((value) => value > 0) && corruption > 0 && corruption < 1))
    throw new RangeError(`linearCourse: can't train ${JSON.stringify(problem)}`);
  const random = randomStream(seed, "two Gaussian classes");
  const sign = (): number => (random.uniform() < 0.5 ? -1 : 1);
  const truth = Float64Array.from({ length: n }, sign);
  const labels = truth.map((label) => (random.uniform() < corruption ? sign() : label));
  const x = Float64Array.from({ length: n * p }, () => spread * random.normal());
  // v is the first axis, which loses nothing: the noise is the same in all directions.
  for (let i = 0; i < n; i++) x[i * p]! += truth[i]!;
  const theta = Float64Array.from({ length: p }, () => random.normal());
  const radius = Math.hypot(...theta);
  for (let j = 0; j < p; j++) theta[j]! *= 2 / radius;

  const wrong = labels.reduce((count, label, i) => count + Number(label !== truth[i]), 0);
  const curve = (): Float64Array => new Float64Array(steps + 1);
  const course = {
    wrongTrue: curve(),
    fitted: curve(),
    alignment: curve(),
    signal: curve(),
    norm: curve(),
    rightCoefficients: curve(),
    wrongCoefficients: curve(),
  };
  const gradient = new Float64Array(p);
  for (let step = 0; step <= steps; step++) {
    gradient.fill(0);
    for (let i = 0; i < n; i++) {
      const row = x.subarray(i * p, (i + 1) * p);
      let score = 0;
      for (let j = 0; j < p; j++) score += theta[j]! * row[j]!;
      const coefficient = Math.tanh(score) - labels[i]!;
      for (let j = 0; j < p; j++) gradient[j]! += (coefficient * row[j]!) / (2 * n);
      course.fitted[step]! += Number(score * labels[i]! > 0) / n;
      if (labels[i] === truth[i]) course.rightCoefficients[step]! += coefficient ** 2 / (n - wrong);
      else {
        course.wrongCoefficients[step]! += coefficient ** 2 / wrong;
        course.wrongTrue[step]! += Number(score * truth[i]! > 0) / wrong;
      }
    }
    course.alignment[step] = -gradient[0]! / Math.hypot(...gradient);
    course.signal[step] = theta[0]!;
    course.norm[step] = Math.hypot(...theta);
    for (let j = 0; j < p; j++) theta[j]! -= stepSize * gradient[j]!;
  }
  return course;
}
