import { LuDecomposition, Matrix } from "ml-matrix";
import type { MDP, Policy } from "./mdp.ts";

export interface PolicyEvaluation {
  /** V^π, `[states]`. */
  readonly values: Float64Array;
  /** Q^π, `[states, actions]`. */
  readonly q: Float64Array;
}

export interface EvaluationOptions {
  /**
   * τ: weight of the entropy bonus −Σ π log π earned in every visited state, 0 by default. As usual the bonus of the
   * state in which Q's action is taken is part of V but not of Q.
   */
  readonly temperature?: number;
}

/** `r + γ P v`: values of taking each action once and earning `values` from then on, `[states, actions]`. */
export function backup(
  { states, actions, transition, reward, discount }: MDP,
  values: Float64Array,
): Float64Array {
  const q = new Float64Array(states * actions);
  for (let row = 0, p = 0; row < q.length; row++) {
    let expected = 0;
    for (let next = 0; next < states; next++) expected += transition[p++]! * values[next]!;
    q[row] = reward[row]! + discount * expected;
  }
  return q;
}

/**
 * Exact V^π and Q^π by solving `(I − γ P_π) v = r_π + τ H(π)`.
 *
 * @throws RangeError when the policy has the wrong length.
 */
export function policyEvaluation(
  mdp: MDP,
  policy: Policy,
  { temperature = 0 }: EvaluationOptions = {},
): PolicyEvaluation {
  requirePolicy("policyEvaluation", mdp, policy);
  const { states, actions, reward } = mdp;
  const gain = new Float64Array(states);
  for (let s = 0; s < states; s++) {
    for (let i = s * actions; i < (s + 1) * actions; i++) {
      const probability = policy[i]!;
      if (probability > 0) gain[s]! += probability * (reward[i]! - temperature * Math.log(probability));
    }
  }
  const solution = new LuDecomposition(discountedFlow(mdp, policy)).solve(Matrix.columnVector(gain));
  const values = Float64Array.from(solution.to1DArray());
  return { values, q: backup(mdp, values) };
}

/** A = Q − V, `[states, actions]`: how much better than the policy's mean an action is. */
export function advantage({ values, q }: PolicyEvaluation): Float64Array {
  const actions = q.length / values.length;
  return q.map((value, i) => value - values[Math.floor(i / actions)]!);
}

/** `Σ initial · V^π`: the expected discounted return. */
export function expectedReturn(mdp: MDP, policy: Policy, options?: EvaluationOptions): number {
  const { values } = policyEvaluation(mdp, policy, options);
  return values.reduce((sum, value, s) => sum + mdp.initial[s]! * value, 0);
}

/**
 * Normalized discounted occupancy `d(s, a) = (1 − γ) Σ_t γ^t Pr(s_t = s, a_t = a)`, `[states, actions]`; it adds up to
 * one, and `Σ d · r = (1 − γ) ×` expected return.
 *
 * @throws RangeError when the policy has the wrong length.
 */
export function occupancyMeasure(mdp: MDP, policy: Policy): Float64Array {
  requirePolicy("occupancyMeasure", mdp, policy);
  const start = Matrix.columnVector(mdp.initial).mul(1 - mdp.discount);
  const visits = new LuDecomposition(discountedFlow(mdp, policy).transpose()).solve(start);
  return policy.map((probability, i) => probability * visits.get(Math.floor(i / mdp.actions), 0));
}

/** I − γ P_π, `[states, states]`. */
function discountedFlow({ states, actions, transition, discount }: MDP, policy: Policy): Matrix {
  const flow = new Float64Array(states * states);
  for (let row = 0; row < states * actions; row++) {
    const weight = discount * policy[row]!;
    if (weight === 0) continue;
    const target = Math.floor(row / actions) * states;
    for (let next = 0; next < states; next++)
      flow[target + next]! -= weight * transition[row * states + next]!;
  }
  for (let s = 0; s < states; s++) flow[s * states + s]! += 1;
  return Matrix.from1DArray(states, states, flow);
}

function requirePolicy(caller: string, { states, actions }: MDP, policy: Policy): void {
  if (policy.length !== states * actions)
    throw new RangeError(
      `${caller}: the policy has ${policy.length} entries instead of ${states}×${actions}`,
    );
}
