import { type Policy, policyEntropy, softmaxPolicy } from "@prior-art/toolkit/mdp";
import type { SampledModel, SampledPlanner } from "./family.ts";

/** Probability 1 for each state's action of largest value. */
export function greedyPolicy(q: Float64Array, actions: number): Policy {
  const policy = new Float64Array(q.length);
  for (let start = 0; start < q.length; start += actions) {
    let best = start;
    for (let i = start + 1; i < start + actions; i++) if (q[i]! > q[best]!) best = i;
    policy[best] = 1;
  }
  return policy;
}

const largestByState = (q: Float64Array, actions: number): Float64Array =>
  Float64Array.from({ length: q.length / actions }, (_, s) =>
    Math.max(...q.subarray(s * actions, (s + 1) * actions)),
  );

/** `Σ_a π(a|s) q(s, a) + temperature · H(π(·|s))`, `[states]`. */
export function policyValues(
  policy: Policy,
  q: Float64Array,
  actions: number,
  temperature = 0,
): Float64Array {
  const entropy = temperature > 0 ? policyEntropy(policy, actions) : undefined;
  return Float64Array.from({ length: q.length / actions }, (_, s) => {
    let value = entropy ? temperature * entropy[s]! : 0;
    for (let i = s * actions; i < (s + 1) * actions; i++) value += policy[i]! * q[i]!;
    return value;
  });
}

/**
 * Temporal differences at all states and actions at once: `sweeps` steps `q ← q + rate (r + γ v_π(s') − q)`, or as many
 * as are left.
 */
export function evaluate(
  model: SampledModel,
  policy: Policy,
  q: Float64Array,
  options: { readonly sweeps: number; readonly rate: number; readonly temperature?: number },
): Float64Array {
  const { sweeps, rate, temperature = 0 } = options;
  let estimate = q;
  for (let i = 0; i < sweeps && model.left > 0; i++) {
    const drawn = model.sweep(policyValues(policy, estimate, model.actions, temperature));
    const before = estimate;
    estimate = before.map((value, row) => value + rate * (drawn[row]! - value));
  }
  return estimate;
}

const start = ({ states, actions }: SampledModel): Float64Array => new Float64Array(states * actions);

/** Value iteration on the mean of `average` sampled backups. */
export const sampledValueIteration =
  ({ average }: { readonly average: number }): SampledPlanner =>
  (model) => {
    let q = start(model);
    while (model.left > 0) {
      const count = Math.min(average, model.left);
      const values = largestByState(q, model.actions);
      const total = start(model);
      for (let i = 0; i < count; i++)
        model.sweep(values).forEach((value, row) => {
          total[row]! += value / count;
        });
      q = total;
    }
    return greedyPolicy(q, model.actions);
  };

/** Policy iteration with the evaluations that samples allow. */
export const sampledPolicyIteration =
  (options: { readonly sweeps: number; readonly rate: number }): SampledPlanner =>
  (model) => {
    let q = start(model);
    while (model.left > 0) q = evaluate(model, greedyPolicy(q, model.actions), q, options);
    return greedyPolicy(q, model.actions);
  };

/** Soft policy iteration: the same with policies `softmax(q / temperature)`, whose entropy counts as a reward. */
export const sampledSoftPolicyIteration =
  (options: {
    readonly sweeps: number;
    readonly rate: number;
    readonly temperature: number;
  }): SampledPlanner =>
  (model) => {
    let q = start(model);
    while (model.left > 0)
      q = evaluate(model, softmaxPolicy(q, model.actions, options.temperature), q, options);
    return greedyPolicy(q, model.actions);
  };

/** Q-learning at all states and actions at once (Watkins, 1989), at rate `(1 + decay · step)^-1`. */
export const synchronousQLearning =
  ({ decay }: { readonly decay: number }): SampledPlanner =>
  (model) => {
    let q = start(model);
    for (let step = 0; model.left > 0; step++) {
      const rate = 1 / (1 + decay * step);
      const drawn = model.sweep(largestByState(q, model.actions));
      const before = q;
      q = before.map((value, row) => value + rate * (drawn[row]! - value));
    }
    return greedyPolicy(q, model.actions);
  };
