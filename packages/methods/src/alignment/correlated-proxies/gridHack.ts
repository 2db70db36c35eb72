import {
  defineMDP,
  type MDP,
  occupancyMeasure,
  type Policy,
  softmaxPolicy,
  valueIteration,
} from "@prior-art/toolkit/mdp";
import { randomStream } from "@prior-art/toolkit/stats";

const SIDE = 5;
const STATES = SIDE * SIDE;
/** Left, down, right, up, stay. */
const MOVES = [
  [0, -1],
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, 0],
] as const;
/** Probability that a random move is made instead. */
const SLIP = 0.1;
/** The far corner, which the proxy takes for a reward: bad in truth. */
const SPRINKLER = STATES - 1;

export interface HackableGrid {
  /** With the proxy for a reward. */
  readonly proxyMdp: MDP;
  /** The true reward, `[states, actions]`. */
  readonly trueReward: Float64Array;
  /** A decent policy for the true reward. */
  readonly base: Policy;
  readonly baseOccupancy: Float64Array;
}

/** A 5×5 grid: some cells are worth something, the far corner is bad, and the proxy sees them all right but the corner. */
export function hackableGrid(seed: number): HackableGrid {
  const stream = randomStream(seed, "grid");
  const transition = new Float64Array(STATES * MOVES.length * STATES);
  const target = (state: number, [down, right]: readonly [number, number]): number => {
    const row = Math.min(SIDE - 1, Math.max(0, Math.floor(state / SIDE) + down));
    const column = Math.min(SIDE - 1, Math.max(0, (state % SIDE) + right));
    return row * SIDE + column;
  };
  for (let s = 0; s < STATES; s++)
    MOVES.forEach((move, a) => {
      const at = (s * MOVES.length + a) * STATES;
      transition[at + target(s, move)]! += 1 - SLIP;
      for (const other of MOVES) transition[at + target(s, other)]! += SLIP / MOVES.length;
    });
  const worth = Float64Array.from({ length: STATES }, () => {
    const [has, value] = [stream.uniform() < 0.4, stream.uniform()];
    return has ? value : 0;
  });
  const seen = worth.map((w) => w + 0.1 * stream.normal());
  worth[SPRINKLER] = -1;
  seen[SPRINKLER] = 2;
  const onActions = (ofState: Float64Array): Float64Array =>
    Float64Array.from({ length: STATES * MOVES.length }, (_, i) => ofState[Math.floor(i / MOVES.length)]!);
  const initial = new Float64Array(STATES);
  initial[0] = 1;
  const mdp = { states: STATES, actions: MOVES.length, transition, discount: 0.95, initial };
  const trueReward = onActions(worth);
  const trueMdp = defineMDP({ ...mdp, reward: trueReward });
  const base = softmaxPolicy(valueIteration(trueMdp).q, MOVES.length, 0.8);
  return {
    proxyMdp: defineMDP({ ...mdp, reward: onActions(seen) }),
    trueReward,
    base,
    baseOccupancy: occupancyMeasure(trueMdp, base),
  };
}

/** The best true return there is, normalized. */
export function bestTrueReturn({ proxyMdp, trueReward }: HackableGrid): number {
  const { policy } = valueIteration({ ...proxyMdp, reward: trueReward });
  return occupancyMeasure(proxyMdp, policy).reduce((sum, m, i) => sum + m * trueReward[i]!, 0);
}
