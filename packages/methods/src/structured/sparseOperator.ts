import type { LinearOperator } from "@prior-art/toolkit/linalg";

/** A sparse matrix, row after row. */
export interface SparseMatrix extends LinearOperator {
  /** Row i's entries are those from `starts[i]` to `starts[i + 1]`. */
  readonly starts: Int32Array;
  readonly indices: Int32Array;
  readonly weights: Float64Array;
}

/** Collects rows of (column, weight) entries into a sparse operator. */
export function sparseOperator(
  columns: number,
  entries: readonly (readonly (readonly [column: number, weight: number])[])[],
): SparseMatrix {
  const rows = entries.length;
  const starts = new Int32Array(rows + 1);
  entries.forEach((row, i) => {
    starts[i + 1] = starts[i]! + row.length;
  });
  const indices = new Int32Array(starts[rows]!);
  const weights = new Float64Array(starts[rows]!);
  entries.forEach((row, i) => {
    row.forEach(([column, weight], k) => {
      indices[starts[i]! + k] = column;
      weights[starts[i]! + k] = weight;
    });
  });
  return {
    rows,
    columns,
    starts,
    indices,
    weights,
    apply(x, out = new Float64Array(rows)) {
      for (let i = 0; i < rows; i++) {
        let sum = 0;
        for (let at = starts[i]!; at < starts[i + 1]!; at++) sum += weights[at]! * x[indices[at]!]!;
        out[i] = sum;
      }
      return out;
    },
    applyTransposed(y, out = new Float64Array(columns)) {
      out.fill(0);
      for (let i = 0; i < rows; i++)
        for (let at = starts[i]!; at < starts[i + 1]!; at++) out[indices[at]!]! += weights[at]! * y[i]!;
      return out;
    },
  };
}

/** Differences of neighbouring pixels, along rows and then along columns: `[2 size (size − 1), size²]`. */
export function differenceOperator(size: number): SparseMatrix {
  const rows: (readonly [number, number])[][] = [];
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      const at = i * size + j;
      if (j + 1 < size)
        rows.push([
          [at, -1],
          [at + 1, 1],
        ]);
      if (i + 1 < size)
        rows.push([
          [at, -1],
          [at + size, 1],
        ]);
    }
  return sparseOperator(size * size, rows);
}
