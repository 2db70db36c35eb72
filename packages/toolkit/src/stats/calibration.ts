/** Examples whose confidence lies in one bin. */
export interface ReliabilityBin {
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Mean of the largest probability, NaN in an empty bin. */
  readonly confidence: number;
  /** Share of right predictions, NaN in an empty bin. */
  readonly accuracy: number;
}

type Numbers = ArrayLike<number>;

/** Number of classes of `[examples, classes]` probabilities. @throws RangeError when the sizes or values don't fit. */
function requirePredictions(op: string, probabilities: Numbers, labels: Numbers): number {
  const classes = probabilities.length / labels.length;
  if (!(labels.length > 0 && Number.isInteger(classes)))
    throw new RangeError(`${op}: ${probabilities.length} probabilities for ${labels.length} labels`);
  for (let i = 0; i < labels.length; i++) {
    let total = 0;
    for (let c = 0; c < classes; c++) total += probabilities[i * classes + c]!;
    if (!(Math.abs(total - 1) < 1e-3))
      throw new RangeError(`${op}: the probabilities of example ${i} sum to ${total}`);
    if (!(labels[i]! >= 0 && labels[i]! < classes))
      throw new RangeError(`${op}: label ${labels[i]} of example ${i} is none of ${classes} classes`);
  }
  return classes;
}

/**
 * Accuracy against confidence in bins of equal width, `(low, high]` (Guo et al., 2017, eqs. 2 and 3).
 * @param probabilities `[examples, classes]`, row-major
 * @param labels `[examples]`
 * @throws RangeError when they don't fit, a row doesn't sum to 1, or there is no bin.
 */
export function reliabilityDiagram(probabilities: Numbers, labels: Numbers, bins = 15): ReliabilityBin[] {
  const classes = requirePredictions("reliabilityDiagram", probabilities, labels);
  if (!(Number.isInteger(bins) && bins >= 1))
    throw new RangeError(`reliabilityDiagram: bins must be a whole number of at least 1, got ${bins}`);
  const sums = Array.from({ length: bins }, () => ({ count: 0, confidence: 0, right: 0 }));
  for (let i = 0; i < labels.length; i++) {
    let best = 0;
    for (let c = 1; c < classes; c++)
      if (probabilities[i * classes + c]! > probabilities[i * classes + best]!) best = c;
    const confidence = probabilities[i * classes + best]!;
    const bin = sums[Math.min(Math.max(Math.ceil(confidence * bins) - 1, 0), bins - 1)]!;
    bin.count++;
    bin.confidence += confidence;
    bin.right += Number(best === labels[i]);
  }
  return sums.map(({ count, confidence, right }, i) => ({
    low: i / bins,
    high: (i + 1) / bins,
    count,
    confidence: confidence / count,
    accuracy: right / count,
  }));
}

/** Mean of `|accuracy - confidence|` over the bins, weighted by their counts (Naeini et al., 2015). */
export function expectedCalibrationError(probabilities: Numbers, labels: Numbers, bins = 15): number {
  return reliabilityDiagram(probabilities, labels, bins).reduce(
    (sum, { count, accuracy, confidence }) =>
      count ? sum + (count / labels.length) * Math.abs(accuracy - confidence) : sum,
    0,
  );
}

/** Largest `|accuracy - confidence|` of a bin that holds an example. */
export function maximumCalibrationError(probabilities: Numbers, labels: Numbers, bins = 15): number {
  return Math.max(
    ...reliabilityDiagram(probabilities, labels, bins)
      .filter(({ count }) => count > 0)
      .map(({ accuracy, confidence }) => Math.abs(accuracy - confidence)),
  );
}

/** Mean squared distance of the probabilities from the one-hot label, between 0 and 2 (Brier, 1950). */
export function brierScore(probabilities: Numbers, labels: Numbers): number {
  const classes = requirePredictions("brierScore", probabilities, labels);
  let sum = 0;
  for (let i = 0; i < probabilities.length; i++) {
    const target = i % classes === labels[Math.floor(i / classes)] ? 1 : 0;
    sum += (probabilities[i]! - target) ** 2;
  }
  return sum / labels.length;
}

/** Mean of `-log p` of the label, in nats; infinite where a label was ruled out. */
export function logScore(probabilities: Numbers, labels: Numbers): number {
  const classes = requirePredictions("logScore", probabilities, labels);
  let sum = 0;
  for (let i = 0; i < labels.length; i++) sum -= Math.log(probabilities[i * classes + labels[i]!]!);
  return sum / labels.length;
}
