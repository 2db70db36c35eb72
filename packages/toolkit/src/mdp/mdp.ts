/**
 * A finite Markov decision process with discounted rewards; all tables are dense and row-major.
 *
 * A terminal state is one that returns to itself under every action with reward 0.
 */
export interface MDP {
  /** |S|; states are 0 … |S| − 1. */
  readonly states: number;
  /** |A|, the same in every state. */
  readonly actions: number;
  /** P(s' | s, a), `[states, actions, states]`. */
  readonly transition: Float64Array;
  /** Expected reward of taking an action in a state, `[states, actions]`. */
  readonly reward: Float64Array;
  /** γ, in [0, 1). */
  readonly discount: number;
  /** Distribution of the first state, `[states]`. */
  readonly initial: Float64Array;
}

/** Probabilities of the actions in each state, `[states, actions]`, rows adding up to one. */
export type Policy = Float64Array;

/** What a planner returns. */
export interface Plan {
  readonly policy: Policy;
  /** Q of the returned policy, or its estimate, `[states, actions]`. */
  readonly q: Float64Array;
  /** V, `[states]`. */
  readonly values: Float64Array;
  /** Sweeps or policy updates made. */
  readonly iterations: number;
}

/** A method that solves a known MDP. */
export type Planner = (mdp: MDP) => Plan;

const ROUNDING = 1e-9;

/**
 * Checks an MDP's tables and returns it; for MDPs that come from outside.
 *
 * @throws RangeError when a table has the wrong length, a row of probabilities is negative or does not add up to one,
 * a reward is not finite, or the discount lies outside [0, 1).
 */
export function defineMDP(mdp: MDP): MDP {
  const { states, actions, transition, reward, discount, initial } = mdp;
  requireSize("states", states);
  requireSize("actions", actions);
  if (!(discount >= 0 && discount < 1)) throw new RangeError(`MDP: discount ${discount} is not in [0, 1)`);
  requireLength("transition", transition, states * actions * states);
  requireLength("reward", reward, states * actions);
  requireLength("initial", initial, states);
  if (!reward.every(Number.isFinite)) throw new RangeError("MDP: a reward is not finite");
  for (let row = 0; row < states * actions; row++) {
    const where = `transition from state ${Math.floor(row / actions)} by action ${row % actions}`;
    requireDistribution(where, transition.subarray(row * states, (row + 1) * states));
  }
  requireDistribution("initial", initial);
  return mdp;
}

/** The policy that takes every action equally often. */
export function uniformPolicy({ states, actions }: MDP): Policy {
  return new Float64Array(states * actions).fill(1 / actions);
}

/**
 * The deterministic policy that takes `choice[s]` in state s.
 * @throws RangeError when a choice is not an action or there is not one for each state.
 */
export function deterministicPolicy({ states, actions }: MDP, choice: ArrayLike<number>): Policy {
  if (choice.length !== states)
    throw new RangeError(`deterministicPolicy: ${choice.length} choices for ${states} states`);
  const policy = new Float64Array(states * actions);
  for (let s = 0; s < states; s++) {
    const action = choice[s]!;
    if (!Number.isInteger(action) || action < 0 || action >= actions)
      throw new RangeError(`deterministicPolicy: ${action} is not one of ${actions} actions`);
    policy[s * actions + action] = 1;
  }
  return policy;
}

/** Each state's action of largest Q, the first of equals: `[states]`. */
export function greedyActions({ states, actions }: MDP, q: Float64Array): Int32Array {
  const choice = new Int32Array(states);
  for (let s = 0; s < states; s++) {
    for (let a = 1; a < actions; a++) if (q[s * actions + a]! > q[s * actions + choice[s]!]!) choice[s] = a;
  }
  return choice;
}

function requireSize(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new RangeError(`MDP: ${name} must be a whole number of at least 1, got ${value}`);
}

function requireLength(name: string, table: Float64Array, length: number): void {
  if (table.length !== length)
    throw new RangeError(`MDP: ${name} has ${table.length} entries instead of ${length}`);
}

function requireDistribution(name: string, row: Float64Array): void {
  const sum = row.reduce((total, p) => total + p, 0);
  if (row.some((p) => !(p >= 0)) || !(Math.abs(sum - 1) <= ROUNDING))
    throw new RangeError(`MDP: ${name} is not a probability distribution (it adds up to ${sum})`);
}
