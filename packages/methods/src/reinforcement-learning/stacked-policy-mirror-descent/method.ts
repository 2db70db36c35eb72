import {
  backup,
  type MDP,
  type Plan,
  type Planner,
  policyEntropy,
  policyEvaluation,
  softmaxPolicy,
  softValueIteration,
} from "@prior-art/toolkit/mdp";

/** The two regularizers of a step of policy mirror descent. */
export interface Regularization {
  /** η ≥ 0: weight of KL(π_{k+1} ‖ π_k). Default 0.9. */
  readonly eta?: number;
  /** τ > 0: weight of the entropy. Default 0.1. */
  readonly tau?: number;
}

export interface StackOptions extends Regularization {
  /** M: Q-functions kept; `Infinity` keeps all, which is exact policy mirror descent. */
  readonly memory: number;
  /**
   * Whether the weights of the kept Q-functions are scaled to add up to 1/τ (the paper's algorithm, default) or just
   * cut off after M (vanilla finite memory, which ends at temperature τ/(1 − β^M)).
   */
  readonly correct?: boolean;
}

/** A Q-function: the values of all actions in a state, a table's row or a network's output. */
export type QFunction<State> = (state: State) => ArrayLike<number>;

/** α = 1/(η + τ) and β = η/(η + τ). */
export interface Step {
  readonly alpha: number;
  readonly beta: number;
}

/**
 * Size and forgetting factor of one exact step: `ξ_{k+1} = β ξ_k + α Q^k`.
 * @throws RangeError unless η ≥ 0 and τ > 0.
 */
export function stepOf({ eta = 0.9, tau = 0.1 }: Regularization): Step {
  if (!(eta >= 0 && tau > 0 && Number.isFinite(eta + tau)))
    throw new RangeError(`policy mirror descent: needs eta ≥ 0 and tau > 0, got ${eta} and ${tau}`);
  return { alpha: 1 / (eta + tau), beta: eta / (eta + tau) };
}

/**
 * Weights of the stacked Q-functions, newest first: `α βⁱ/(1 − β^M)`, without the denominator when not corrected.
 *
 * @param count Q-functions seen so far; those before the first one count as zero.
 * @returns `[min(count, memory)]`.
 * @throws RangeError unless `memory` is a whole number of at least 1 or `Infinity`, η ≥ 0 and τ > 0.
 */
export function stackWeights(
  { memory, correct = true, ...regularization }: StackOptions,
  count: number,
): Float64Array {
  const { alpha, beta } = stepOf(regularization);
  if (!(memory >= 1 && (Number.isInteger(memory) || memory === Number.POSITIVE_INFINITY)))
    throw new RangeError(
      `stackWeights: memory must be a whole number of at least 1 or Infinity, got ${memory}`,
    );
  const scale = correct ? alpha / (1 - beta ** memory) : alpha;
  return Float64Array.from({ length: Math.min(count, memory) }, (_, i) => scale * beta ** i);
}

/** A policy that is a stack of frozen Q-functions: pushing one is the whole policy update, without any gradient step. */
export interface StackedPolicy<State> {
  /** Updates the policy with its own (estimated) regularized Q-function, and forgets the oldest if the stack is full. */
  push(q: QFunction<State>): void;
  /** ξ(s, ·), `[actions]`; zero before the first push. */
  logits(state: State): Float64Array;
  /** π(· | s) = softmax(ξ(s, ·)), `[actions]`. */
  probabilities(state: State): Float64Array;
  /** Q-functions in the stack. */
  readonly size: number;
}

/**
 * Policy mirror descent with the last M Q-functions in memory.
 *
 * @param actions |A|.
 * @throws RangeError on a memory or regularization out of range.
 *
 * @example
 * const policy = staqPolicy<number>(4, { eta: 0.9, tau: 0.1, memory: 30 });
 * policy.push((state) => q.subarray(4 * state, 4 * state + 4));
 * policy.probabilities(0);
 */
export function staqPolicy<State>(actions: number, options: StackOptions): StackedPolicy<State> {
  let weights = stackWeights(options, 0);
  const stack: QFunction<State>[] = [];
  const logits = (state: State): Float64Array => {
    const sum = new Float64Array(actions);
    stack.forEach((q, i) => {
      const values = q(state);
      for (let a = 0; a < actions; a++) sum[a]! += weights[i]! * values[a]!;
    });
    return sum;
  };
  return {
    push(q) {
      stack.unshift(q);
      if (stack.length > options.memory) stack.pop();
      if (weights.length < stack.length) weights = stackWeights(options, stack.length);
    },
    logits,
    probabilities: (state) => softmaxPolicy(logits(state), actions),
    get size() {
      return stack.length;
    },
  };
}

export interface TabularOptions extends StackOptions {
  /** K: policy updates. */
  readonly iterations: number;
  /** Draws the evaluation error added to each entry of each pushed Q; none by default. */
  readonly noise?: () => number;
}

export interface TabularResult extends Plan {
  /** ξ_K, `[states, actions]`. */
  readonly logits: Float64Array;
  /** ‖Q*_τ − Q^k_τ‖_∞ of π_0 … π_K, `[iterations + 1]`; Q^k is π_k's exact regularized Q, whatever the noise. */
  readonly gap: Float64Array;
  /** Regularized return of π_0 … π_K from the initial distribution, `[iterations + 1]`. */
  readonly returns: Float64Array;
}

/**
 * Policy mirror descent on a known MDP: each policy is evaluated exactly (plus `noise`), pushed on the stack, and the
 * stack is the next policy.
 *
 * @throws RangeError on a memory or regularization out of range.
 */
export function tabularPMD(mdp: MDP, options: TabularOptions): TabularResult {
  const { iterations, noise, tau = 0.1 } = options;
  const { states, actions } = mdp;
  const optimum = softValueIteration(mdp, { temperature: tau, tolerance: 1e-12 }).q;
  const stacked = staqPolicy<number>(actions, options);
  const gap = new Float64Array(iterations + 1);
  const returns = new Float64Array(iterations + 1);
  for (let k = 0; ; k++) {
    const logits = tableOf(states, actions, stacked.logits);
    const policy = softmaxPolicy(logits, actions);
    const { q, values } = policyEvaluation(mdp, policy, { temperature: tau });
    gap[k] = largestDifference(optimum, q);
    returns[k] = values.reduce((sum, value, s) => sum + mdp.initial[s]! * value, 0);
    if (k === iterations) return { policy, logits, q, values, iterations, gap, returns };
    const estimate = noise ? q.map((value) => value + noise()) : q;
    stacked.push((s) => estimate.subarray(s * actions, (s + 1) * actions));
  }
}

/** The family's interface: a planner that runs `tabularPMD` with the options. */
export function staqPlanner(options: TabularOptions): Planner {
  return (mdp) => tabularPMD(mdp, options);
}

/**
 * Where vanilla finite memory ends: the policy with `π = softmax((1 − β^M) Q^π_τ/τ)`, found by iterating
 * `v ← ⟨π, q⟩ + τ H(π)`, `q = r + γ P v`, `π = softmax((1 − β^M) q/τ)`.
 *
 * @throws Error when the values do not settle to 1e-13 in 100,000 sweeps.
 */
export function truncatedFixedPoint(mdp: MDP, { eta = 0.9, tau = 0.1, memory }: StackOptions): Plan {
  const { beta } = stepOf({ eta, tau });
  const temperature = tau / (1 - beta ** memory);
  let values: Float64Array = new Float64Array(mdp.states);
  for (let iterations = 1; iterations <= 100_000; iterations++) {
    const q = backup(mdp, values);
    const policy = softmaxPolicy(q, mdp.actions, temperature);
    const entropy = policyEntropy(policy, mdp.actions);
    const next = entropy.map((h, s) => {
      let value = tau * h;
      for (let i = s * mdp.actions; i < (s + 1) * mdp.actions; i++) value += policy[i]! * q[i]!;
      return value;
    });
    const change = largestDifference(values, next);
    values = next;
    if (change <= 1e-13) return { policy, q: backup(mdp, values), values, iterations };
  }
  throw new Error("truncatedFixedPoint: the values did not settle");
}

/**
 * The memory beyond which the corrected algorithm is guaranteed to converge:
 * `log(1 + γ²(3 + β)/((1 − γ)²(1 − β)))/log(1/β)`. Sufficient, and far from necessary.
 *
 * @throws RangeError unless η ≥ 0, τ > 0 and the discount lies in [0, 1).
 */
export function sufficientMemory(discount: number, regularization: Regularization): number {
  const { beta } = stepOf(regularization);
  if (!(discount >= 0 && discount < 1))
    throw new RangeError(`sufficientMemory: discount ${discount} is not in [0, 1)`);
  const ratio = (discount ** 2 * (3 + beta)) / ((1 - discount) ** 2 * (1 - beta));
  return Math.log1p(ratio) / -Math.log(beta);
}

/** Largest absolute difference of two tables. */
export function largestDifference(a: Float64Array, b: Float64Array): number {
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
}

function tableOf(states: number, actions: number, row: (state: number) => Float64Array): Float64Array {
  const table = new Float64Array(states * actions);
  for (let s = 0; s < states; s++) table.set(row(s), s * actions);
  return table;
}
