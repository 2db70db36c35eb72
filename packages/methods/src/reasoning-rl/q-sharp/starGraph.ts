import {
  expectedReward,
  sequenceKl,
  type TokenPolicy,
  type TokenProcess,
  tokenPolicy,
  tokenProcess,
} from "@prior-art/toolkit/lm";
import { mean, randomStream } from "@prior-art/toolkit/stats";
import { type Guidance, guidedBy, learnReturns } from "./method.ts";

const ARMS = 3;
/** Tokens of an answer: the arm, then the nodes along it. */
const LENGTH = 4;
const GRAPHS = 50;
/** Probability with which the reference takes the arm that is listed first. */
const SHORTCUT = 0.98;

/** One graph: the goal is at the end of one arm; once on an arm the reference follows it without error. */
function starGraph(goal: number): {
  readonly process: TokenProcess<string>;
  readonly reference: TokenPolicy;
} {
  const process = tokenProcess<string>({
    vocabulary: ARMS,
    start: "",
    key: (s) => s,
    step(path, token) {
      const next = path + token;
      if (next.length < LENGTH) return { next, reward: 0 };
      // Later tokens name the node to go to; 0 is the one along the edge.
      return { next: null, reward: next === `${goal}${"0".repeat(LENGTH - 1)}` ? 1 : 0 };
    },
  });
  const others = (1 - SHORTCUT) / (ARMS - 1);
  const reference = tokenPolicy(process, (path) => (path === "" ? [SHORTCUT, others, others] : [1, 0, 0]));
  return { process, reference };
}

const goals = (seed: number): number[] => {
  const stream = randomStream(seed, "goals");
  return Array.from({ length: GRAPHS }, () => stream.integer(ARMS));
};

/** Accuracy of the reference: how often the goal is on the arm listed first. */
export const referenceAccuracy = (seed: number): number =>
  mean(
    goals(seed).map((goal) => {
      const { process, reference } = starGraph(goal);
      return expectedReward(process, reference);
    }),
  );

export interface GuidedResult {
  readonly accuracy: number;
  /** KL to the reference, nats an answer. */
  readonly kl: number;
}

/** Accuracy of guidance by returns that are learned in a table for each graph. */
export function guidedAccuracy(
  seed: number,
  {
    rolloutsPerRound,
    eta,
    guidance,
  }: { readonly rolloutsPerRound: number; readonly eta: number; readonly guidance: Guidance },
): GuidedResult {
  const results = goals(seed).map((goal, g) => {
    const { process, reference } = starGraph(goal);
    const model = learnReturns(process, reference, {
      atoms: [0, 1],
      eta,
      guidance,
      rolloutsPerRound,
      stream: randomStream(seed, `rollouts on graph ${g}`),
    });
    const policy = guidedBy(process, reference, model, eta, guidance);
    return { accuracy: expectedReward(process, policy), kl: sequenceKl(process, policy, reference) };
  });
  return { accuracy: mean(results.map((r) => r.accuracy)), kl: mean(results.map((r) => r.kl)) };
}

export interface ReinforceOptions {
  /** Rollouts on each graph. */
  readonly rollouts: number;
  readonly batch: number;
  readonly learningRate: number;
}

/**
 * Accuracy of REINFORCE from the reference, with the batch's mean for a baseline and a softmax over the arms for each
 * graph; what follows the arm is never wrong and needs no learning.
 */
export function reinforceAccuracy(seed: number, { rollouts, batch, learningRate }: ReinforceOptions): number {
  const others = (1 - SHORTCUT) / (ARMS - 1);
  return mean(
    goals(seed).map((goal, g) => {
      const stream = randomStream(seed, `rollouts on graph ${g}`);
      const logits = [SHORTCUT, others, others].map(Math.log);
      const probabilities = (): number[] => {
        const top = Math.max(...logits);
        const weights = logits.map((h) => Math.exp(h - top));
        const total = weights.reduce((a, b) => a + b);
        return weights.map((w) => w / total);
      };
      for (let done = 0; done < rollouts; done += batch) {
        const p = probabilities();
        const arms = Array.from({ length: batch }, () => {
          const u = stream.uniform();
          return u < p[0]! ? 0 : u < p[0]! + p[1]! ? 1 : 2;
        });
        const rewards: number[] = arms.map((arm) => (arm === goal ? 1 : 0));
        const baseline = mean(rewards);
        arms.forEach((arm, i) => {
          const step = (learningRate * (rewards[i]! - baseline)) / batch;
          p.forEach((q, a) => {
            logits[a]! += step * ((a === arm ? 1 : 0) - q);
          });
        });
      }
      return probabilities()[goal]!;
    }),
  );
}
