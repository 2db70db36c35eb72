import type { Game } from "./game.ts";

/**
 * A zero-sum matrix game: player 0 chooses the row, player 1 the column without seeing it. Labels are `"row"` and
 * `"column"`.
 *
 * @param payoffs `[rows][columns]`, what player 0 gets.
 * @throws RangeError when the matrix is empty or ragged.
 */
export function matrixGame(payoffs: readonly (readonly number[])[]): Game<readonly number[]> {
  const columns = payoffs[0]?.length ?? 0;
  if (columns === 0 || payoffs.some((row) => row.length !== columns))
    throw new RangeError("matrixGame: needs a rectangular, non-empty matrix");
  const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);
  return {
    name: "matrix game",
    initial: () => [],
    turn: (moves) => {
      if (moves.length === 2) return { kind: "terminal", utility: payoffs[moves[0]!]![moves[1]!]! };
      const player = moves.length as 0 | 1;
      return {
        kind: "decision",
        player,
        infoset: player === 0 ? "row" : "column",
        actions: names(player === 0 ? payoffs.length : columns),
      };
    },
    next: (moves, action) => [...moves, action],
  };
}
