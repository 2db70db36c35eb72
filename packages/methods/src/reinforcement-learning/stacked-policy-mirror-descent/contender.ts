import { evaluate, greedyPolicy } from "../classics.ts";
import type { Contender, SampledPlanner } from "../family.ts";
import { type StackOptions, staqPolicy } from "./method.ts";

/** Policy mirror descent on a stack of evaluations from samples; the greedy policy of the last logits is returned. */
const sampledStaq =
  (
    options: StackOptions & { readonly tau: number; readonly sweeps: number; readonly rate: number },
  ): SampledPlanner =>
  (model) => {
    const { states, actions } = model;
    const stack = staqPolicy<number>(actions, options);
    const table = (row: (state: number) => Float64Array): Float64Array => {
      const all = new Float64Array(states * actions);
      for (let s = 0; s < states; s++) all.set(row(s), s * actions);
      return all;
    };
    let q: Float64Array = new Float64Array(states * actions);
    let policy: Float64Array = new Float64Array(states * actions).fill(1 / actions);
    while (model.left > 0) {
      q = evaluate(model, policy, q, { ...options, temperature: options.tau });
      const frozen = q;
      stack.push((s) => frozen.subarray(s * actions, (s + 1) * actions));
      policy = table(stack.probabilities);
    }
    return greedyPolicy(table(stack.logits), actions);
  };

const contenders: Readonly<Record<string, Contender>> = {
  stackedPolicyMirrorDescent: {
    label: "StaQ",
    space: {
      eta: [0.03, 0.1, 0.3],
      tau: [0.003, 0.01, 0.03],
      sweeps: [1, 5],
      rate: [0.2, 0.5],
    },
    fixed: { memory: 50 },
    planner: ({ eta, tau, memory, sweeps, rate }) =>
      sampledStaq({ eta: eta!, tau: tau!, memory: memory!, sweeps: sweeps!, rate: rate! }),
  },
};
export default contenders;
