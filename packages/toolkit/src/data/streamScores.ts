/** Row i: accuracies on every task after task i was learned, `[tasks, tasks]`. */
export type AccuracyMatrix = readonly (readonly number[])[];

export interface StreamScores {
  /** ACC: mean accuracy over all tasks at the end. */
  readonly averageAccuracy: number;
  /** BWT: mean change on earlier tasks since they were learned; negative is forgetting (Lopez-Paz & Ranzato, 2017). */
  readonly backwardTransfer: number;
  /** FM: mean fall from the best accuracy that an earlier task ever had (Chaudhry et al., 2018). */
  readonly forgetting: number;
  /** Mean accuracy on each task right after it was learned. */
  readonly learningAccuracy: number;
}

const average = (values: readonly number[]): number =>
  values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0;

/**
 * The usual summaries of a stream of tasks. With a single task transfer and forgetting are 0.
 * @throws RangeError unless the matrix is square and not empty.
 */
export function streamScores(matrix: AccuracyMatrix): StreamScores {
  const tasks = matrix.length;
  if (tasks === 0 || matrix.some((row) => row.length !== tasks))
    throw new RangeError(
      `streamScores: rows of ${matrix.map((row) => row.length).join(", ")} are no square matrix`,
    );
  const last = matrix[tasks - 1]!;
  const earlier = Array.from({ length: tasks - 1 }, (_, t) => t);
  return {
    averageAccuracy: average(last),
    backwardTransfer: average(earlier.map((t) => last[t]! - matrix[t]![t]!)),
    forgetting: average(
      earlier.map((t) => Math.max(...matrix.slice(t, tasks - 1).map((row) => row[t]!)) - last[t]!),
    ),
    learningAccuracy: average(matrix.map((row, t) => row[t]!)),
  };
}
