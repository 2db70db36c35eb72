import { requireSample } from "./summary.ts";

export interface AdditiveFit {
  readonly grandMean: number;
  /** Deviation of each row's mean from the grand mean. */
  readonly rowEffects: readonly number[];
  readonly columnEffects: readonly number[];
  /** What rows + columns leave over, `[rows, columns]`. */
  readonly residuals: readonly (readonly number[])[];
  /**
   * Share of the variance about the grand mean that no sum of a row effect and a column effect explains: 0 for a
   * separable (axis-aligned) landscape, 1 for pure interaction. 0 for a constant table.
   */
  readonly interactionShare: number;
}

/**
 * Fits table[i][j] ≈ mean + row_i + column_j by least squares (two-way layout, one observation a cell).
 *
 * @throws RangeError when the table is empty, ragged, or has a NaN cell.
 */
export function additiveFit(table: readonly (readonly number[])[]): AdditiveFit {
  const columns = table[0]?.length ?? 0;
  const ragged = table.findIndex((row) => row.length !== columns);
  if (ragged >= 0)
    throw new RangeError(`additiveFit: row ${ragged} has ${table[ragged]!.length} of ${columns} cells`);
  const cells = table.flat();
  requireSample("additiveFit", cells);
  const average = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const grandMean = average(cells);
  const rowEffects = table.map((row) => average(row) - grandMean);
  const columnEffects = Array.from(
    { length: columns },
    (_, j) => average(table.map((row) => row[j]!)) - grandMean,
  );
  const residuals = table.map((row, i) =>
    row.map((value, j) => value - grandMean - rowEffects[i]! - columnEffects[j]!),
  );
  const sumOfSquares = (values: readonly number[]) => values.reduce((sum, value) => sum + value * value, 0);
  const total = sumOfSquares(cells.map((value) => value - grandMean));
  return {
    grandMean,
    rowEffects,
    columnEffects,
    residuals,
    interactionShare: total > 0 ? sumOfSquares(residuals.flat()) / total : 0,
  };
}
