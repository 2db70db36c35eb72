import { type MDP, sampleIndex, sampleNextState } from "../mdp/index.ts";
import type { RandomStream } from "../stats/index.ts";
import { choice, type Environment } from "./environment.ts";

/**
 * A finite MDP to be played: the state is its number, the observation a one-hot vector. Terminal where a state leads only
 * to itself, without reward.
 * @param options.horizon steps an episode, 100 by default.
 */
export function mdpEnvironment(
  mdp: MDP,
  { name = "mdp", horizon = 100 }: { readonly name?: string; readonly horizon?: number } = {},
): Environment {
  const absorbing = absorbingStates(mdp);
  return {
    name,
    stateSize: 1,
    observationSize: mdp.states,
    actions: { kind: "discrete", count: mdp.actions },
    horizon,
    start: (random) => Float64Array.of(sampleIndex(mdp.initial, random)),
    step(state, action, random) {
      const taken = choice(name, action, mdp.actions);
      const next = sampleNextState(mdp, state[0]!, taken, random);
      const reward = mdp.reward[state[0]! * mdp.actions + taken]!;
      return { state: Float64Array.of(next), reward, terminal: absorbing[next]! };
    },
    observe(state) {
      const observation = new Float64Array(mdp.states);
      observation[state[0]!] = 1;
      return observation;
    },
  };
}

function absorbingStates({ states, actions, transition, reward }: MDP): boolean[] {
  return Array.from({ length: states }, (_, s) =>
    Array.from({ length: actions }, (_, a) => s * actions + a).every(
      (row) => transition[row * states + s] === 1 && reward[row] === 0,
    ),
  );
}

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
