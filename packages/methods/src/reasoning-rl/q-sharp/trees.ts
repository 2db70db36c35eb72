import {
  dirichlet,
  expectedReward,
  gibbsPolicy,
  sequenceKl,
  type TokenPolicy,
  type TokenProcess,
  tokenPolicy,
  tokenProcess,
} from "@prior-art/toolkit/lm";
import { mean, randomStream } from "@prior-art/toolkit/stats";
import { exactReturns, type Guidance, guidedBy, learnReturns, type ReturnModel } from "./method.ts";

const DEPTH = 4;
const BRANCHES = 3;
const ATOMS = [0, 1];
export const ETAS = [0.05, 0.1, 0.2, 0.5, 1];

interface Tree {
  readonly process: TokenProcess<string>;
  readonly reference: TokenPolicy;
}

/** Four tokens of three; leaves succeed or fail, more alike under one branch of the root; the reference is random. */
function randomTree(seed: number): Tree {
  const stream = randomStream(seed, "tree");
  const success = new Map<string, number>();
  const process = tokenProcess<string>({
    vocabulary: BRANCHES,
    start: "",
    key: (s) => s,
    step(prefix, token) {
      const path = prefix + token;
      if (path.length < DEPTH) return { next: path, reward: 0 };
      // Beta(½, ½): the square of a sine at a uniform angle.
      const branch = path.slice(0, DEPTH - 1);
      const rate = success.get(branch) ?? Math.sin((Math.PI / 2) * stream.uniform()) ** 2;
      success.set(branch, rate);
      return { next: null, reward: stream.uniform() < rate ? 1 : 0 };
    },
  });
  return { process, reference: tokenPolicy(process, () => dirichlet(stream, BRANCHES, 1)) };
}

/** Reward and KL by η. */
export interface Frontier {
  readonly reward: readonly number[];
  readonly kl: readonly number[];
}

const frontier = ({ process, reference }: Tree, policyAt: (eta: number) => TokenPolicy): Frontier => {
  const policies = ETAS.map(policyAt);
  return {
    reward: policies.map((policy) => expectedReward(process, policy)),
    kl: policies.map((policy) => sequenceKl(process, policy, reference)),
  };
};

/** Reward that a frontier has at a KL, between its points and the reference's. */
function rewardAt(kl: number, { reward, kl: kls }: Frontier, referenceReward: number): number {
  const points = [...kls.map((k, i) => [k, reward[i]!] as const), [0, referenceReward] as const].sort(
    (a, b) => a[0] - b[0],
  );
  const after = points.findIndex(([k]) => k >= kl);
  if (after <= 0) return after === 0 ? points[0]![1] : points.at(-1)![1];
  const [[k0, r0], [k1, r1]] = [points[after - 1]!, points[after]!];
  return k1 === k0 ? r1 : r0 + ((kl - k0) / (k1 - k0)) * (r1 - r0);
}

export type TreeResult = {
  /** Largest difference of Q♯'s objective, with exact distributions, from the optimum, over trees and η. */
  readonly optimumError: number;
  /** Share of trees and η ≤ 0.2 at which guidance by the mean has a lower objective than the optimum. */
  readonly meanIsWorse: number;
  /** Reward of learned Q♯ minus that of learned mean guidance at Q♯'s KL, mean over trees and η. */
  readonly rewardAtEqualKl: number;
  /** Objective of learned Q♯ minus that of learned mean guidance, mean over trees and η ≤ 0.2. */
  readonly objectiveGain: number;
  /** Averages over trees, by η. */
  readonly softReward: readonly number[];
  readonly softKl: readonly number[];
  readonly meanReward: readonly number[];
  readonly meanKl: readonly number[];
  readonly learnedReward: readonly number[];
  readonly learnedKl: readonly number[];
};

/** Random trees, exactly and with critics learned from the same number of rollouts. */
export function compareOnTrees(seed: number, trees: number, rolloutsPerRound: number): TreeResult {
  let optimumError = 0;
  let [worse, counted] = [0, 0];
  const [equalKl, gains]: [number[], number[]] = [[], []];
  const [soft, means, learned]: [Frontier[], Frontier[], Frontier[]] = [[], [], []];
  for (let k = 0; k < trees; k++) {
    const tree = randomTree(seed * 1000 + k);
    const { process, reference } = tree;
    const exact = exactReturns(process, reference, ATOMS);
    const value = (policy: TokenPolicy, eta: number): number =>
      expectedReward(process, policy) - eta * sequenceKl(process, policy, reference);
    for (const eta of ETAS) {
      const best = gibbsPolicy(process, reference, eta).values[0]!;
      const gap = best - value(guidedBy(process, reference, exact, eta), eta);
      optimumError = Math.max(optimumError, Math.abs(gap));
      if (eta > 0.2) continue;
      counted++;
      if (value(guidedBy(process, reference, exact, eta, "mean"), eta) < best - 1e-9) worse++;
    }
    const learnedWith = (guidance: Guidance): ReturnModel =>
      learnReturns(process, reference, {
        atoms: ATOMS,
        rolloutsPerRound,
        guidance,
        stream: randomStream(seed * 1000 + k, "rollouts"),
      });
    const frontierOf = (model: ReturnModel, guidance: Guidance): Frontier =>
      frontier(tree, (eta) => guidedBy(process, reference, model, eta, guidance));
    const [softModel, meanModel] = [learnedWith("soft"), learnedWith("mean")];
    const [q, cd] = [frontierOf(softModel, "soft"), frontierOf(meanModel, "mean")];
    const referenceReward = expectedReward(process, reference);
    q.kl.forEach((kl, i) => {
      equalKl.push(q.reward[i]! - rewardAt(kl, cd, referenceReward));
    });
    for (const eta of ETAS.filter((e) => e <= 0.2))
      gains.push(
        value(guidedBy(process, reference, softModel, eta), eta) -
          value(guidedBy(process, reference, meanModel, eta, "mean"), eta),
      );
    soft.push(frontierOf(exact, "soft"));
    means.push(frontierOf(exact, "mean"));
    learned.push(q);
  }
  const average = (all: readonly Frontier[], what: keyof Frontier): number[] =>
    ETAS.map((_, i) => mean(all.map((f) => f[what][i]!)));
  return {
    optimumError,
    meanIsWorse: worse / counted,
    rewardAtEqualKl: mean(equalKl),
    objectiveGain: mean(gains),
    softReward: average(soft, "reward"),
    softKl: average(soft, "kl"),
    meanReward: average(means, "reward"),
    meanKl: average(means, "kl"),
    learnedReward: average(learned, "reward"),
    learnedKl: average(learned, "kl"),
  };
}
