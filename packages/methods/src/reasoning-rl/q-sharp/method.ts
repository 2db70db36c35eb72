import type { TokenPolicy, TokenProcess } from "@prior-art/toolkit/lm";
import type { RandomStream } from "@prior-art/toolkit/stats";

/**
 * The optimal soft value from the distribution of the reward to go under the reference policy: `η log E exp(z/η)`. For
 * transitions without chance, as appending tokens is, this is Q* of `E[reward] − η KL(π ‖ reference)`.
 * @param probabilities of each atom; those of 0 may stand for values out of reach
 * @param atoms values of the reward to go
 * @throws RangeError when lengths differ, nothing has probability, or η is not positive.
 */
export function softQFromDistribution(
  probabilities: ArrayLike<number>,
  atoms: ArrayLike<number>,
  eta: number,
): number {
  if (probabilities.length !== atoms.length)
    throw new RangeError(`softQ: ${probabilities.length} probabilities of ${atoms.length} atoms`);
  if (!(eta > 0)) throw new RangeError(`softQ: η is positive, got ${eta}`);
  let top = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < atoms.length; j++) if (probabilities[j]! > 0) top = Math.max(top, atoms[j]!);
  if (top === Number.NEGATIVE_INFINITY) throw new RangeError("softQ: no atom has probability");
  let sum = 0;
  for (let j = 0; j < atoms.length; j++)
    if (probabilities[j]! > 0) sum += probabilities[j]! * Math.exp((atoms[j]! - top) / eta);
  return top + eta * Math.log(sum);
}

/** The mean of the distribution: what value-guided decoding without the soft maximum takes for Q (CD, VAS). */
export const meanQFromDistribution = (probabilities: ArrayLike<number>, atoms: ArrayLike<number>): number =>
  Array.from(probabilities).reduce((sum, p, j) => sum + p * atoms[j]!, 0);

/** `π ∝ reference · exp(Q/η)` over one state's tokens; tokens that the reference forbids stay out, whatever their Q. */
export function guidedPolicy(reference: ArrayLike<number>, q: ArrayLike<number>, eta: number): Float64Array {
  let top = Number.NEGATIVE_INFINITY;
  for (let v = 0; v < q.length; v++) if (reference[v]! > 0) top = Math.max(top, q[v]!);
  const weights = Float64Array.from(q, (value, v) =>
    reference[v]! > 0 ? reference[v]! * Math.exp((value - top) / eta) : 0,
  );
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => w / total);
}

/** Distributions of the reward to go of every token in every state, on shared atoms. */
export interface ReturnModel {
  readonly atoms: readonly number[];
  /** `[states · vocabulary, atoms]` */
  readonly probabilities: Float64Array;
}

/** Which functional of the return's distribution guides. */
export type Guidance = "soft" | "mean";

/** The guided policy of all states; η may differ from the one that the model was learned with. */
export function guidedBy<State>(
  process: TokenProcess<State>,
  reference: TokenPolicy,
  { atoms, probabilities }: ReturnModel,
  eta: number,
  guidance: Guidance = "soft",
): TokenPolicy {
  const { vocabulary } = process;
  const policy = new Float64Array(reference.length);
  for (let at = 0; at < reference.length; at += vocabulary) {
    const q = Float64Array.from({ length: vocabulary }, (_, v) => {
      const own = probabilities.subarray((at + v) * atoms.length, (at + v + 1) * atoms.length);
      return guidance === "soft" ? softQFromDistribution(own, atoms, eta) : meanQFromDistribution(own, atoms);
    });
    policy.set(guidedPolicy(reference.subarray(at, at + vocabulary), q, eta), at);
  }
  return policy;
}

/**
 * The exact distributions of the reward to go when the reference acts from the next state on.
 * @param atoms all values that a reward to go can have
 * @throws RangeError when another value comes up.
 */
export function exactReturns<State>(
  process: TokenProcess<State>,
  reference: TokenPolicy,
  atoms: readonly number[],
): ReturnModel {
  const { vocabulary, next, rewards } = process;
  const probabilities = new Float64Array(next.length * atoms.length);
  const place = (value: number): number => {
    const at = atoms.findIndex((z) => Math.abs(z - value) < 1e-9);
    if (at < 0) throw new RangeError(`exactReturns: a reward to go of ${value} is none of the atoms`);
    return at;
  };
  for (let i = next.length - 1; i >= 0; i--) {
    const to = next[i]!;
    if (to < 0) {
      probabilities[i * atoms.length + place(rewards[i]!)] = 1;
      continue;
    }
    for (let v = 0; v < vocabulary; v++) {
      const from = to * vocabulary + v;
      for (let j = 0; j < atoms.length; j++) {
        const p = reference[from]! * probabilities[from * atoms.length + j]!;
        if (p > 0) probabilities[i * atoms.length + place(rewards[i]! + atoms[j]!)]! += p;
      }
    }
  }
  return { atoms, probabilities };
}

export interface QSharpOptions {
  readonly atoms: readonly number[];
  /** η while learning, 0.1 by default. */
  readonly eta?: number;
  /** Rounds of aggregation, 3 by default; the first rolls in with the reference. */
  readonly rounds?: number;
  readonly rolloutsPerRound: number;
  /** Which tokens of a rollout are learned from: all from the switch on, as in practice, or that at the switch only. */
  readonly tail?: "all" | "switch";
  /**
   * How often each atom is taken to have been seen before any data, 0.01 by default: next to nothing where there are
   * data, since `exp(z/η)` magnifies what is left of it, and even odds, which invite a try, where there are none.
   */
  readonly prior?: number;
  /** How the policy that rolls in is guided; `"soft"` by default. */
  readonly guidance?: Guidance;
  readonly stream: RandomStream;
}

/**
 * Q♯ with a table for a critic: each round rolls in with the guided policy up to a random step, takes its token there,
 * finishes with the reference, and counts the reward to go; the counts of all rounds are the maximum-likelihood
 * distributions (smoothed by the prior).
 */
export function learnReturns<State>(
  process: TokenProcess<State>,
  reference: TokenPolicy,
  options: QSharpOptions,
): ReturnModel {
  const { atoms, eta = 0.1, rounds = 3, rolloutsPerRound, tail = "all", prior = 0.01 } = options;
  const { guidance = "soft", stream } = options;
  const { vocabulary, next, rewards } = process;
  const horizon = longest(process);
  const counts = new Float64Array(next.length * atoms.length).fill(prior);
  const model = (): ReturnModel => {
    const probabilities = counts.slice();
    for (let at = 0; at < counts.length; at += atoms.length) {
      const own = probabilities.subarray(at, at + atoms.length);
      const total = own.reduce((sum, n) => sum + n, 0);
      own.forEach((n, j) => {
        own[j] = n / total;
      });
    }
    return { atoms, probabilities };
  };
  const draw = (policy: TokenPolicy, state: number): number => {
    let left = stream.uniform();
    for (let v = 0; v < vocabulary - 1; v++) {
      left -= policy[state * vocabulary + v]!;
      if (left < 0) return v;
    }
    return vocabulary - 1;
  };
  for (let round = 0; round < rounds; round++) {
    const policy = round === 0 ? reference : guidedBy(process, reference, model(), eta, guidance);
    for (let rollout = 0; rollout < rolloutsPerRound; rollout++) {
      const change = stream.integer(horizon);
      const path: number[] = [];
      for (let state = 0; state >= 0; ) {
        const i = state * vocabulary + draw(path.length <= change ? policy : reference, state);
        path.push(i);
        state = next[i]!;
      }
      let toGo = 0;
      for (let t = path.length - 1; t >= Math.min(change, path.length - 1); t--) {
        toGo += rewards[path[t]!]!;
        if (tail === "switch" && t !== change) continue;
        const at = atoms.findIndex((z) => Math.abs(z - toGo) < 1e-9);
        if (at < 0) throw new RangeError(`learnReturns: a reward to go of ${toGo} is none of the atoms`);
        counts[path[t]! * atoms.length + at]!++;
      }
    }
  }
  return model();
}

/** Tokens of the longest sequence. */
function longest<State>({ vocabulary, states, next }: TokenProcess<State>): number {
  const left = new Int32Array(states.length);
  for (let i = next.length - 1; i >= 0; i--) {
    const s = Math.floor(i / vocabulary);
    left[s] = Math.max(left[s]!, 1 + (next[i]! < 0 ? 0 : left[next[i]!]!));
  }
  return left[0]!;
}
