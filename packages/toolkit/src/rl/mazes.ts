import type { RandomStream } from "../stats/index.ts";

/**
 * A random maze without loops, drawn for `gridWorld`: `S` in one corner, `G` in the opposite one, `#` walls between
 * `rows × columns` rooms; depth-first search from the start.
 * @throws RangeError unless there are at least two rooms.
 */
export function randomMaze(
  { rows, columns }: { readonly rows: number; readonly columns: number },
  random: RandomStream,
): string[] {
  if (
    !(Number.isInteger(rows) && Number.isInteger(columns) && rows >= 1 && columns >= 1 && rows * columns >= 2)
  )
    throw new RangeError(`randomMaze: needs two rooms or more, got ${rows}×${columns}`);
  const cells = Array.from({ length: 2 * rows - 1 }, () => new Array<string>(2 * columns - 1).fill("#"));
  const path: [number, number][] = [[0, 0]];
  cells[0]![0] = "S";
  while (path.length > 0) {
    const [row, column] = path.at(-1)!;
    const open = (
      [
        [row, column - 1],
        [row + 1, column],
        [row, column + 1],
        [row - 1, column],
      ] as const
    ).filter(([r, c]) => r >= 0 && r < rows && c >= 0 && c < columns && cells[2 * r]![2 * c] === "#");
    if (open.length === 0) {
      path.pop();
      continue;
    }
    const [r, c] = open[random.integer(open.length)]!;
    cells[row + r]![column + c] = ".";
    cells[2 * r]![2 * c] = ".";
    path.push([r, c]);
  }
  cells[2 * rows - 2]![2 * columns - 2] = "G";
  return cells.map((row) => row.join(""));
}
