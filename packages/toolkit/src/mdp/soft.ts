import type { Policy } from "./mdp.ts";

/** τ log Σ_a exp(Q/τ) of each state, `[states]`, without overflow. */
export function softValues(q: Float64Array, actions: number, temperature: number): Float64Array {
  requireTemperature("softValues", temperature);
  return Float64Array.from({ length: q.length / actions }, (_, s) => {
    const row = q.subarray(s * actions, (s + 1) * actions);
    const largest = Math.max(...row);
    const sum = row.reduce((total, value) => total + Math.exp((value - largest) / temperature), 0);
    return largest + temperature * Math.log(sum);
  });
}

/**
 * softmax(logits/τ) in each state.
 *
 * @param logits `[states, actions]`.
 * @param temperature τ > 0, default 1.
 * @throws RangeError on a temperature that is not positive.
 */
export function softmaxPolicy(logits: Float64Array, actions: number, temperature = 1): Policy {
  requireTemperature("softmaxPolicy", temperature);
  const policy = new Float64Array(logits.length);
  for (let start = 0; start < logits.length; start += actions) {
    const row = logits.subarray(start, start + actions);
    const largest = Math.max(...row);
    let sum = 0;
    for (let a = 0; a < actions; a++) sum += policy[start + a] = Math.exp((row[a]! - largest) / temperature);
    for (let a = 0; a < actions; a++) policy[start + a]! /= sum;
  }
  return policy;
}

/** Entropy −Σ π log π of each state's actions, nats, `[states]`. */
export function policyEntropy(policy: Policy, actions: number): Float64Array {
  return Float64Array.from({ length: policy.length / actions }, (_, s) =>
    policy
      .subarray(s * actions, (s + 1) * actions)
      .reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0),
  );
}

function requireTemperature(caller: string, temperature: number): void {
  if (!(temperature > 0)) throw new RangeError(`${caller}: temperature must be positive, got ${temperature}`);
}
