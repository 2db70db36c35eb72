/** What a token does in a state: the state after it (`null`: the sequence is over) and its reward. */
export interface TokenStep<State> {
  readonly next: State | null;
  readonly reward: number;
}

export interface TokenProcessOptions<State> {
  readonly vocabulary: number;
  readonly start: State;
  /** Equal for states that are the same; different for states at different positions. */
  readonly key: (state: State) => string;
  readonly step: (state: State, token: number) => TokenStep<State>;
}

/**
 * Sequences of bounded length as paths through finitely many states, with rewards on tokens: what depends on a
 * sequence only through such a state can be computed exactly, by dynamic programming instead of enumeration.
 */
export interface TokenProcess<State> {
  readonly vocabulary: number;
  /** Earlier states come before later ones; the first is the start. */
  readonly states: readonly State[];
  /** Number of the state after each token, `[states, vocabulary]`; −1 where the sequence is over. */
  readonly next: Int32Array;
  /** Reward of each token, `[states, vocabulary]`. */
  readonly rewards: Float64Array;
}

/** Probability of each token in each state, `[states, vocabulary]`, row after row. */
export type TokenPolicy = Float64Array;

/**
 * Finds all states that can be reached.
 * @throws RangeError when a state comes back (then sequences are not of bounded length) or there are over a million.
 */
export function tokenProcess<State>(options: TokenProcessOptions<State>): TokenProcess<State> {
  const { vocabulary, start, key, step } = options;
  const states: State[] = [start];
  const seen = new Map<string, { number: number; depth: number }>([[key(start), { number: 0, depth: 0 }]]);
  const next: number[] = [];
  const rewards: number[] = [];
  for (let s = 0; s < states.length; s++) {
    const { depth } = seen.get(key(states[s]!))!;
    for (let token = 0; token < vocabulary; token++) {
      const after = step(states[s]!, token);
      rewards.push(after.reward);
      if (after.next === null) {
        next.push(-1);
        continue;
      }
      const name = key(after.next);
      let known = seen.get(name);
      if (!known) {
        known = { number: states.push(after.next) - 1, depth: depth + 1 };
        seen.set(name, known);
      }
      if (known.depth !== depth + 1)
        throw new RangeError(`tokenProcess: the state ${name} is reached at positions of its own and others`);
      next.push(known.number);
    }
    if (states.length > 1_000_000) throw new RangeError("tokenProcess: more than a million states");
  }
  return { vocabulary, states, next: Int32Array.from(next), rewards: Float64Array.from(rewards) };
}

/** The policy that reads its row from the state. @throws RangeError when a row is not a distribution. */
export function tokenPolicy<State>(
  process: TokenProcess<State>,
  row: (state: State) => ArrayLike<number>,
): TokenPolicy {
  const { vocabulary, states } = process;
  const policy = new Float64Array(states.length * vocabulary);
  states.forEach((state, s) => {
    const probabilities = Float64Array.from(row(state));
    const total = probabilities.reduce((sum, p) => sum + p, 0);
    if (probabilities.length !== vocabulary || probabilities.some((p) => p < 0) || Math.abs(total - 1) > 1e-9)
      throw new RangeError(`tokenPolicy: the row of state ${s} is no distribution over ${vocabulary} tokens`);
    policy.set(probabilities, s * vocabulary);
  });
  return policy;
}

export interface GibbsPolicy {
  readonly policy: TokenPolicy;
  /** `β log E_reference[exp(reward to go / β)]` of each state: what the best trade of reward and KL is worth there. */
  readonly values: Float64Array;
}

/**
 * The policy that maximizes `E[reward] − β KL(policy ‖ reference)` over whole sequences, by backward recursion:
 * `π(v|s) ∝ reference(v|s) exp((r(s, v) + V(sv)) / β)` with `V(s) = β log Σ_v reference(v|s) exp((r + V(sv)) / β)`.
 * @throws RangeError unless β > 0.
 */
export function gibbsPolicy<State>(
  process: TokenProcess<State>,
  reference: TokenPolicy,
  beta: number,
): GibbsPolicy {
  if (!(beta > 0)) throw new RangeError(`gibbsPolicy: β is positive, got ${beta}`);
  const { vocabulary, states, next, rewards } = process;
  const values = new Float64Array(states.length);
  const policy = new Float64Array(reference.length);
  for (let s = states.length - 1; s >= 0; s--) {
    const from = s * vocabulary;
    let top = Number.NEGATIVE_INFINITY;
    const scores = Array.from({ length: vocabulary }, (_, v) => {
      const to = next[from + v]!;
      const score =
        reference[from + v]! > 0
          ? Math.log(reference[from + v]!) + (rewards[from + v]! + (to < 0 ? 0 : values[to]!)) / beta
          : Number.NEGATIVE_INFINITY;
      top = Math.max(top, score);
      return score;
    });
    const total = scores.reduce((sum, score) => sum + Math.exp(score - top), 0);
    scores.forEach((score, v) => {
      policy[from + v] = Math.exp(score - top) / total;
    });
    values[s] = beta * (top + Math.log(total));
  }
  return { policy, values };
}

/** Probability of passing through each state, `[states]`. */
export function stateVisits<State>(process: TokenProcess<State>, policy: TokenPolicy): Float64Array {
  const { vocabulary, states, next } = process;
  const visits = new Float64Array(states.length);
  visits[0] = 1;
  for (let i = 0; i < next.length; i++)
    if (next[i]! >= 0) visits[next[i]!]! += visits[Math.floor(i / vocabulary)]! * policy[i]!;
  return visits;
}

/** `Σ_s visits(s) Σ_v policy(v|s) value(s, v)`: the expected sum of a number that each token brings. */
function expectedSum<State>(
  process: TokenProcess<State>,
  policy: TokenPolicy,
  value: (i: number) => number,
): number {
  const visits = stateVisits(process, policy);
  let total = 0;
  for (let i = 0; i < policy.length; i++)
    if (policy[i]! > 0) total += visits[Math.floor(i / process.vocabulary)]! * policy[i]! * value(i);
  return total;
}

/** Expected reward of a sequence. */
export const expectedReward = <State>(process: TokenProcess<State>, policy: TokenPolicy): number =>
  expectedSum(process, policy, (i) => process.rewards[i]!);

/** `KL(policy ‖ reference)` between distributions over whole sequences, nats; infinite where the reference forbids. */
export const sequenceKl = <State>(
  process: TokenProcess<State>,
  policy: TokenPolicy,
  reference: TokenPolicy,
): number => expectedSum(process, policy, (i) => Math.log(policy[i]! / reference[i]!));

/** Entropy of the distribution over whole sequences, nats. */
export const sequenceEntropy = <State>(process: TokenProcess<State>, policy: TokenPolicy): number =>
  expectedSum(process, policy, (i) => -Math.log(policy[i]!));

/** All sequences that a policy gives positive probability, with it and their rewards. For small processes. */
export function* sequences<State>(
  process: TokenProcess<State>,
  policy: TokenPolicy,
): Generator<{ readonly tokens: readonly number[]; readonly probability: number; readonly reward: number }> {
  const { vocabulary, next, rewards } = process;
  const open = [{ state: 0, tokens: [] as number[], probability: 1, reward: 0 }];
  for (let path = open.pop(); path; path = open.pop())
    for (let v = vocabulary - 1; v >= 0; v--) {
      const i = path.state * vocabulary + v;
      if (!(policy[i]! > 0)) continue;
      const tokens = [...path.tokens, v];
      const probability = path.probability * policy[i]!;
      const reward = path.reward + rewards[i]!;
      if (next[i]! < 0) yield { tokens, probability, reward };
      else open.push({ state: next[i]!, tokens, probability, reward });
    }
}
