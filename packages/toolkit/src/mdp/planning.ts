import { backup, policyEvaluation } from "./evaluation.ts";
import { deterministicPolicy, greedyActions, type MDP, type Plan } from "./mdp.ts";
import { softmaxPolicy, softValues } from "./soft.ts";

export interface ValueIterationOptions {
  /** Largest error of the returned values, by the contraction bound; default 1e-10. */
  readonly tolerance?: number;
  /** Default 100,000. */
  readonly maxIterations?: number;
}

/**
 * Optimal values by Bellman's optimality backup.
 *
 * @throws Error when `maxIterations` sweeps do not reach the tolerance.
 */
export function valueIteration(mdp: MDP, options: ValueIterationOptions = {}): Plan {
  const { values, iterations } = fixedPoint("valueIteration", mdp, options, (q) => largestByState(mdp, q));
  const q = backup(mdp, values);
  return { policy: deterministicPolicy(mdp, greedyActions(mdp, q)), q, values, iterations };
}

/**
 * Entropy-regularized optimum: `V = τ log Σ exp(Q/τ)`, `π = softmax(Q/τ)`.
 *
 * @param options.temperature τ > 0.
 * @throws RangeError on a temperature that is not positive, Error when `maxIterations` sweeps do not reach the tolerance.
 */
export function softValueIteration(
  mdp: MDP,
  options: ValueIterationOptions & { readonly temperature: number },
): Plan {
  const { temperature } = options;
  const { values, iterations } = fixedPoint("softValueIteration", mdp, options, (q) =>
    softValues(q, mdp.actions, temperature),
  );
  const q = backup(mdp, values);
  return { policy: softmaxPolicy(q, mdp.actions, temperature), q, values, iterations };
}

/** Howard's policy iteration: exact evaluation and greedy improvement until no action changes. */
export function policyIteration(mdp: MDP): Plan {
  let choice = new Int32Array(mdp.states);
  for (let iterations = 1; ; iterations++) {
    const policy = deterministicPolicy(mdp, choice);
    const { values, q } = policyEvaluation(mdp, policy);
    const improved = choice.slice();
    greedyActions(mdp, q).forEach((action, s) => {
      const [kept, best] = [q[s * mdp.actions + choice[s]!]!, q[s * mdp.actions + action]!];
      // Ties split by rounding would otherwise alternate for ever.
      if (best > kept + 1e-12 * (1 + Math.abs(best))) improved[s] = action;
    });
    if (improved.every((action, s) => action === choice[s])) return { policy, q, values, iterations };
    choice = improved;
  }
}

/** Iterates `v ← summary(r + γ P v)` from zero until γ/(1 − γ) times the change is below the tolerance. */
function fixedPoint(
  caller: string,
  mdp: MDP,
  { tolerance = 1e-10, maxIterations = 100_000 }: ValueIterationOptions,
  summary: (q: Float64Array) => Float64Array,
): { values: Float64Array; iterations: number } {
  const factor = mdp.discount / (1 - mdp.discount);
  let values: Float64Array = new Float64Array(mdp.states);
  for (let iterations = 1; iterations <= maxIterations; iterations++) {
    const next = summary(backup(mdp, values));
    const change = next.reduce((largest, v, s) => Math.max(largest, Math.abs(v - values[s]!)), 0);
    values = next;
    if (factor * change <= tolerance) return { values, iterations };
  }
  throw new Error(`${caller}: tolerance ${tolerance} not reached in ${maxIterations} sweeps`);
}

function largestByState({ states, actions }: MDP, q: Float64Array): Float64Array {
  return Float64Array.from({ length: states }, (_, s) =>
    Math.max(...q.subarray(s * actions, (s + 1) * actions)),
  );
}
