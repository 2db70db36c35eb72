import { type Cell, GRIDS } from "./grids.ts";
import { type Arm, type CellScores, type Regime, type Sizes, trainRegime } from "./sweep.ts";

/** Where the lab's tuning seeds start, so that no test seed was ever tuned on. */
const FIRST_TUNING_SEED = 1_000_000;

/** Positions in the arm's grid. */
export interface Choice {
  /** Of the cell with the lowest log loss. */
  readonly nll: number;
  /** Of the cell with the highest accuracy; ties go to the lower log loss. */
  readonly accuracy: number;
}

const mean = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0) / values.length;

/** Position of the highest score; NaN, of cells that diverged on any seed, never wins. */
const highest = (scores: readonly number[]): number =>
  scores.reduce((at, score, i) => (score > scores[at]! || Number.isNaN(scores[at]!) ? i : at), 0);

const byNll = ({ nll }: CellScores): number => -nll;
const byAccuracy = ({ accuracy, nll }: CellScores): number => accuracy - 1e-6 * nll;

/** From scores by tuning seed and cell. */
export function bestCells(seeds: readonly (readonly CellScores[])[]): Choice {
  const means = (score: (cell: CellScores) => number) =>
    seeds[0]!.map((_, i) => mean(seeds.map((cells) => score(cells[i]!))));
  return {
    nll: highest(means(byNll)),
    accuracy: highest(means(byAccuracy)),
  };
}

const choices = new Map<string, Promise<Choice>>();

/**
 * Chooses an arm's cells in a regime on the held-out digits of the tuning seeds, once in a process: the whole grid on the
 * first seed, the finalists on all.
 */
export function chooseCells(arm: Arm, regime: Regime, sizes: Sizes, seeds: number): Promise<Choice> {
  const key = JSON.stringify([arm, regime, sizes, seeds]);
  const known = choices.get(key) ?? tune(arm, regime, sizes, seeds);
  choices.set(key, known);
  known.catch(() => choices.delete(key));
  return known;
}

/** So many of the best by each score on the first tuning seed are trained on the others. */
const FINALISTS = 5;

/** Positions of the cells that are among the best by log loss or by accuracy, in order. */
export function finalists(cells: readonly CellScores[]): number[] {
  const best = (score: (cell: CellScores) => number): number[] =>
    cells
      .map((cell, i) => ({ i, value: score(cell) }))
      .filter(({ value }) => !Number.isNaN(value))
      .sort((a, b) => b.value - a.value)
      .slice(0, FINALISTS)
      .map(({ i }) => i);
  const chosen = new Set([...best(byNll), ...best(byAccuracy)]);
  return chosen.size > 0 ? [...chosen].sort((a, b) => a - b) : [0];
}

async function tune(arm: Arm, regime: Regime, sizes: Sizes, seeds: number): Promise<Choice> {
  const grid = GRIDS[arm][regime];
  const scoresOf = async (cells: readonly Cell[], i: number): Promise<readonly CellScores[]> => {
    for await (const report of trainRegime(arm, regime, sizes, FIRST_TUNING_SEED + i, cells, 1))
      return report.cells;
    throw new Error("the training gave no report");
  };
  const first = await scoresOf(grid, 0);
  const last = finalists(first);
  const scores: (readonly CellScores[])[] = [last.map((i) => first[i]!)];
  const cells = last.map((i) => grid[i]!);
  for (let i = 1; i < seeds; i++) scores.push(await scoresOf(cells, i));
  const { nll, accuracy } = bestCells(scores);
  return { nll: last[nll]!, accuracy: last[accuracy]! };
}
