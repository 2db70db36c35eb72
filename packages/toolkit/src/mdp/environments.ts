import { randomStream } from "../stats/random.ts";
import { defineMDP, type MDP } from "./mdp.ts";

/** Left, down, right, up, as rows and columns; the order of Gymnasium's toy-text environments. */
const MOVES = [
  [0, -1],
  [1, 0],
  [0, 1],
  [-1, 0],
] as const;

export interface GridWorldOptions {
  /** Probability of going to one of the two sides instead (half each), default 0. */
  readonly slip?: number;
  /** Reward of entering `G`, default 1. */
  readonly goalReward?: number;
  /** Reward of entering `H`, default 0. */
  readonly holeReward?: number;
  /** Reward of every other step, default 0. */
  readonly stepReward?: number;
  /** γ, default 0.99. */
  readonly discount?: number;
}

/**
 * A grid world drawn as text: `S` start (several: one at random), `G` goal and `H` hole (both terminal), `#` wall,
 * anything else free. Actions are left, down, right, up; walking into a wall or the edge stays in place.
 * State `row · columns + column`; walls are states that are never entered.
 *
 * @throws RangeError when rows differ in length, there is no start, or `slip` is not a probability.
 */
export function gridWorld(map: readonly string[], options: GridWorldOptions = {}): MDP {
  const { slip = 0, goalReward = 1, holeReward = 0, stepReward = 0, discount = 0.99 } = options;
  const columns = map[0]?.length ?? 0;
  if (columns === 0 || map.some((row) => row.length !== columns))
    throw new RangeError("gridWorld: the map needs rows of equal length");
  if (!(slip >= 0 && slip <= 1)) throw new RangeError(`gridWorld: slip ${slip} is not a probability`);
  const cells = map.join("");
  const mdp = emptyMDP(cells.length, MOVES.length, discount);
  const starts = [...cells].filter((cell) => cell === "S").length;
  if (starts === 0) throw new RangeError("gridWorld: the map has no start S");

  const neighbour = (state: number, direction: number): number => {
    const [down, right] = MOVES[direction]!;
    const [row, column] = [Math.floor(state / columns) + down, (state % columns) + right];
    const inside = row >= 0 && row < map.length && column >= 0 && column < columns;
    const target = row * columns + column;
    return inside && cells[target] !== "#" ? target : state;
  };
  const entering = (cell: string | undefined): number =>
    cell === "G" ? goalReward : cell === "H" ? holeReward : stepReward;

  for (let s = 0; s < cells.length; s++) {
    mdp.initial[s] = cells[s] === "S" ? 1 / starts : 0;
    for (let a = 0; a < MOVES.length; a++) {
      if ("GH#".includes(cells[s]!)) {
        addTransition(mdp, s, a, s, 1, 0);
        continue;
      }
      for (const [turn, probability] of [
        [0, 1 - slip],
        [1, slip / 2],
        [3, slip / 2],
      ] as const) {
        const next = neighbour(s, (a + turn) % 4);
        addTransition(mdp, s, a, next, probability, entering(cells[next]));
      }
    }
  }
  return defineMDP(mdp);
}

const FROZEN_LAKES = {
  4: ["SFFF", "FHFH", "FFFH", "HFFG"],
  8: ["SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"],
} as const;

/** Gymnasium's FrozenLake: a third of the steps go as meant, a third to either side. Reward 1 at the goal. */
export function frozenLake({
  size = 4,
  slippery = true,
  discount = 0.99,
}: {
  readonly size?: 4 | 8;
  readonly slippery?: boolean;
  readonly discount?: number;
} = {}): MDP {
  return gridWorld(FROZEN_LAKES[size], { slip: slippery ? 2 / 3 : 0, discount });
}

/**
 * The chain of Dearden, Friedman and Russell (1998): action 0 goes one state on (at the end it stays and earns 10),
 * action 1 goes back to the start and earns 2; with probability `slip` the other one happens.
 */
export function chain({
  length = 5,
  slip = 0.2,
  discount = 0.99,
}: {
  readonly length?: number;
  readonly slip?: number;
  readonly discount?: number;
} = {}): MDP {
  const mdp = emptyMDP(length, 2, discount);
  mdp.initial[0] = 1;
  for (let s = 0; s < length; s++) {
    for (const [action, forward] of [
      [0, 1 - slip],
      [1, slip],
    ] as const) {
      addTransition(mdp, s, action, Math.min(s + 1, length - 1), forward, s === length - 1 ? 10 : 0);
      addTransition(mdp, s, action, 0, 1 - forward, 2);
    }
  }
  return defineMDP(mdp);
}

/**
 * RiverSwim (Strehl and Littman 2008, in the form of Osband et al. 2013): action 0 drifts left surely and earns 0.005
 * at the left bank; action 1 swims right against the current and earns 1 at the right bank.
 *
 * @throws RangeError with fewer than two states.
 */
export function riverSwim({
  length = 6,
  discount = 0.99,
}: {
  readonly length?: number;
  readonly discount?: number;
} = {}): MDP {
  if (!(length >= 2)) throw new RangeError(`riverSwim: needs at least two states, got ${length}`);
  const mdp = emptyMDP(length, 2, discount);
  const last = length - 1;
  mdp.initial[0] = 1;
  for (let s = 0; s < length; s++) {
    addTransition(mdp, s, 0, Math.max(s - 1, 0), 1, s === 0 ? 0.005 : 0);
    const [back, stay, on] = s === 0 ? [0, 0.4, 0.6] : s === last ? [0.4, 0.6, 0] : [0.05, 0.6, 0.35];
    const reward = s === last ? 1 : 0;
    addTransition(mdp, s, 1, Math.max(s - 1, 0), back, reward);
    addTransition(mdp, s, 1, s, stay, reward);
    addTransition(mdp, s, 1, Math.min(s + 1, last), on, reward);
  }
  return defineMDP(mdp);
}

export interface GarnetOptions {
  readonly states: number;
  readonly actions: number;
  /** Successors of each state and action. */
  readonly branching: number;
  /** γ, default 0.9. */
  readonly discount?: number;
  /** Rewards are uniform between these, default (−1, 1). */
  readonly rewards?: readonly [number, number];
  readonly seed: number;
}

/**
 * A random MDP (Archibald, McKinnon and Thomas 1995): every state and action leads to `branching` distinct random
 * states, with probabilities that are the gaps between sorted uniform numbers. The first state is uniform.
 *
 * @throws RangeError when `branching` is not between 1 and the number of states.
 */
export function garnet({
  states,
  actions,
  branching,
  discount = 0.9,
  rewards = [-1, 1],
  seed,
}: GarnetOptions): MDP {
  if (!(branching >= 1 && branching <= states))
    throw new RangeError(`garnet: branching ${branching} is not between 1 and ${states}`);
  const random = randomStream(seed, "garnet");
  const mdp = emptyMDP(states, actions, discount);
  mdp.initial.fill(1 / states);
  for (let s = 0; s < states; s++) {
    for (let a = 0; a < actions; a++) {
      const cuts = Array.from({ length: branching - 1 }, () => random.uniform()).sort((x, y) => x - y);
      const successors = random.permutation(states).subarray(0, branching);
      const [low, high] = rewards;
      const reward = low + (high - low) * random.uniform();
      successors.forEach((next, i) => {
        addTransition(mdp, s, a, next, (cuts[i] ?? 1) - (cuts[i - 1] ?? 0), reward);
      });
    }
  }
  return defineMDP(mdp);
}

function emptyMDP(states: number, actions: number, discount: number): MDP {
  return {
    states,
    actions,
    discount,
    transition: new Float64Array(states * actions * states),
    reward: new Float64Array(states * actions),
    initial: new Float64Array(states),
  };
}

/** Adds probability mass to one successor, and its share to the expected reward. */
function addTransition(
  mdp: MDP,
  state: number,
  action: number,
  next: number,
  mass: number,
  reward: number,
): void {
  const row = state * mdp.actions + action;
  mdp.transition[row * mdp.states + next]! += mass;
  mdp.reward[row]! += mass * reward;
}
