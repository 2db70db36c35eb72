import type { RandomStream } from "../../stats/index.ts";
import { characterTokenizer } from "../tokenizers/character.ts";
import type { VerifiableTask } from "./task.ts";

const MOVES = { U: -1, D: 1, L: -1, R: 1 } as const;
const [FREE, WALL, START, GOAL] = ["_", "#", "S", "G"];

export interface MazeOptions {
  /** Cells of a side. */
  readonly size: number;
  /** Share of cells that are walls, 0.25 by default. */
  readonly walls?: number;
  /** Moves that an answer may have; `2 · size` by default. */
  readonly moves?: number;
}

/**
 * A square maze written row after row, `"S_#_#__G_|"`, to be walked from S to G by moves U, D, L, R. Any walk that ends
 * on G and hits no wall or border is right.
 * @throws RangeError for options out of range.
 */
export function mazeTask({ size, walls = 0.25, moves = 2 * size }: MazeOptions): VerifiableTask {
  if (!(Number.isInteger(size) && size >= 2 && walls >= 0 && walls < 1 && moves >= 2 * (size - 1)))
    throw new RangeError("mazeTask: takes a size of at least 2, a share of walls below 1, and enough moves");
  const cells = size * size;
  const after = (at: number, move: string): number => {
    const vertical = move === "U" || move === "D";
    const step = MOVES[move as keyof typeof MOVES];
    if (step === undefined) return -1;
    const column = (at % size) + (vertical ? 0 : step);
    const row = Math.floor(at / size) + (vertical ? step : 0);
    return column < 0 || column >= size || row < 0 || row >= size ? -1 : row * size + column;
  };
  /** A shortest walk, or `undefined` when the goal can't be reached. */
  const solve = (maze: string): string | undefined => {
    const walks = new Map([[maze.indexOf(START!), ""]]);
    for (const [at, walk] of walks) {
      if (maze[at] === GOAL) return walk;
      for (const move of Object.keys(MOVES)) {
        const to = after(at, move);
        if (to >= 0 && maze[to] !== WALL && !walks.has(to)) walks.set(to, walk + move);
      }
    }
    return undefined;
  };
  const draw = (stream: RandomStream): string => {
    const order = stream.permutation(cells);
    const maze = Array.from({ length: cells }, () => (stream.uniform() < walls ? WALL! : FREE!));
    maze[order[0]!] = START!;
    maze[order[1]!] = GOAL!;
    return maze.join("");
  };
  return {
    tokenizer: characterTokenizer(`${FREE}${WALL}${START}${GOAL}|UDLR.`),
    end: ".",
    promptLength: cells + 1,
    answerLength: moves,
    generate(stream) {
      for (;;) {
        const maze = draw(stream);
        const answer = solve(maze);
        if (answer !== undefined && answer.length <= moves) return { prompt: `${maze}|`, answer };
      }
    },
    verify(prompt, completion) {
      let at = prompt.indexOf(START!);
      if (at < 0 || completion.length > moves) return false;
      for (const move of completion) {
        at = after(at, move);
        if (at < 0 || prompt[at] === WALL) return false;
      }
      return prompt[at] === GOAL;
    },
  };
}
