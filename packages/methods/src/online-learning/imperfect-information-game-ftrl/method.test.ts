import {
  cfrPlus,
  expectedUtility,
  type GameTree,
  gameTree,
  kuhnPoker,
  leducPoker,
  nashConv,
  type Player,
  payoffGradient,
  realizationPlan,
  strategyFrom,
  uniformProfile,
} from "@prior-art/toolkit/games";
import {
  type Decision,
  dilatedEntropyLeader,
  playEpisode,
  type SelfPlayLearner,
  selfPlay,
} from "@prior-art/toolkit/online";
import { type RandomStream, randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import {
  adaptiveFtrl,
  balancedExploration,
  balancedFtrl,
  balancedOmd,
  balancedTree,
  ixomd,
} from "./method.ts";

const kuhn = gameTree(kuhnPoker());
const leduc = gameTree(leducPoker());
const at = (player: Player, label: string): number =>
  kuhn.forms[player].infosets.findIndex((set) => set.label === label);

const anyStream = randomStream(0);

/** The learner's current probability of action 0, found by asking for actions at fixed draws. */
function firstProbability(learner: SelfPlayLearner, infoset: number, actions: number): number {
  const fixed = (u: number): RandomStream => ({ ...anyStream, uniform: () => u });
  let [low, high] = [0, 1];
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (learner.act(infoset, actions, fixed(middle)) === 0) low = middle;
    else high = middle;
  }
  return low;
}

describe("the balanced tree of Kuhn poker", () => {
  test("player 1's root has four actions below it and passes with probability 3/4", () => {
    const { subtree, policy, transition } = balancedTree(kuhn, 0);
    const root = at(0, "0:");
    expect(subtree[root]).toBe(4);
    const { first } = kuhn.forms[0].infosets[root]!;
    expect([...policy.slice(first, first + 2)]).toEqual([0.75, 0.25]);
    const second = at(0, "0:pb");
    const { first: next } = kuhn.forms[0].infosets[second]!;
    expect([...policy.slice(next, next + 2)]).toEqual([0.5, 0.5]);
    expect([...transition]).toEqual([1, 1, 1, 1, 1, 1]);
  });

  test("player 2 is uniform everywhere", () => {
    const { policy, subtree } = balancedTree(kuhn, 1);
    expect([...policy.slice(1)]).toEqual(new Array(12).fill(0.5));
    expect([...subtree]).toEqual(new Array(6).fill(2));
  });

  test("a proportional root prior shares the roots out by their actions", () => {
    const { transition } = balancedTree(kuhn, 0, { rootPrior: "proportional" });
    expect(transition[at(0, "1:")]).toBeCloseTo(1 / 3, 12);
    expect(transition[at(0, "1:pb")]).toBeCloseTo(1 / 3, 12);
  });

  test.each([0, 1] as const)("in Leduc poker transitions after an action sum to the path's", (player) => {
    const { infosets, infosetOf, sequences } = leduc.forms[player];
    const { transition } = balancedTree(leduc, player);
    const after = new Float64Array(sequences);
    infosets.forEach(({ parent }, x) => {
      after[parent]! += transition[x]!;
    });
    for (let s = 1; s < sequences; s++)
      if (after[s]! > 0) expect(after[s]).toBeCloseTo(transition[infosetOf[s]!]!, 12);
  });

  test("balanced exploration heads for the sets of one depth", () => {
    expect(balancedExploration(kuhn, 0)[at(0, "0:")]).toBeCloseTo(0.5, 12);
    // Only passing leads to the second set, so exploration towards it always passes.
    expect(balancedExploration(kuhn, 0)[at(0, "0:pb")]).toBeCloseTo(0.5, 12);
  });
});

test("one update has the known numbers", () => {
  const learner = ixomd({ eta: 0.5, gamma: 0.1 });
  learner.endEpisode([{ infoset: 0, actions: 2, action: 0 }], 1);
  expect(firstProbability(learner, 0, 2)).toBeCloseTo(0.302941, 6);
});

test("the value passed upwards has the known number", () => {
  // v = −0.664525 at the second set; a parent with the same rates then gets +η v on its played logit.
  const learner = ixomd({ eta: 0.5, gamma: 0.1 });
  const path: Decision[] = [
    { infoset: 0, actions: 1, action: 0 },
    { infoset: 1, actions: 2, action: 0 },
  ];
  learner.endEpisode(path, 1);
  expect(firstProbability(learner, 1, 2)).toBeCloseTo(0.302941, 6);
  const two = ixomd({ eta: 0.5, gamma: 0 });
  two.endEpisode(
    [
      { infoset: 0, actions: 2, action: 0 },
      { infoset: 1, actions: 1, action: 0 },
    ],
    1,
  );
  // Loss 1 / 0.5 = 2 at the leaf with one action: v = −2, so the root's logit falls by 0.5 · 2.
  expect(firstProbability(two, 0, 2)).toBeCloseTo(Math.exp(-1) / (1 + Math.exp(-1)), 10);
});

describe("Kuhn poker's equilibria", () => {
  test("uniform play is off by 11/12", () => {
    expect(nashConv(kuhn, uniformProfile(kuhn))).toBeCloseTo(0.916667, 6);
  });

  test("the pair without bluffs is an equilibrium with value -1/18", () => {
    const profile = [
      strategyFrom(kuhn.forms[0], {
        "0:": [1, 0],
        "1:": [1, 0],
        "2:": [1, 0],
        "0:pb": [1, 0],
        "1:pb": [2 / 3, 1 / 3],
        "2:pb": [0, 1],
      }),
      cfrPlus(kuhn, { iterations: 5000, tolerance: 1e-4 }).profile[1],
    ] as const;
    expect(nashConv(kuhn, profile)).toBeLessThan(1e-3);
    expect(expectedUtility(kuhn, profile)).toBeCloseTo(-1 / 18, 3);
  });
});

/** Plays `episodes` episodes and sums up the estimates ℓ̃ of `player` from the plans of the policies in play. */
function summedEstimates(
  tree: GameTree,
  learners: readonly [SelfPlayLearner, SelfPlayLearner],
  player: Player,
  gamma: (infoset: number) => number,
  episodes: number,
): Float64Array {
  const form = tree.forms[player];
  const total = new Float64Array(form.sequences);
  const random = randomStream(7);
  const paths: [Decision[], Decision[]] = [[], []];
  const range = tree.maxUtility - tree.minUtility;
  for (let t = 0; t < episodes; t++) {
    const end = playEpisode(tree, learners, random, paths);
    const loss = (tree.maxUtility - tree.utility[end]!) / range;
    const own = player === 0 ? loss : 1 - loss;
    let plan = 1;
    for (const { infoset, actions, action } of paths[player]) {
      const p = firstProbability(learners[player], infoset, actions);
      plan *= action === 0 ? p : 1 - p;
    }
    const last = paths[player].at(-1);
    if (last) total[form.infosets[last.infoset]!.first + last.action]! += own / (plan + gamma(last.infoset));
    learners[0].endEpisode(paths[0], loss);
    learners[1].endEpisode(paths[1], 1 - loss);
  }
  return total;
}

test.each([0, 1] as const)(
  "player %i's steps add up to the regularized leader of the summed losses",
  (player) => {
    const rates = { eta: 0.05, gamma: 0.01, rootPrior: "proportional" } as const;
    const learners = [balancedFtrl(kuhn, 0, rates), balancedFtrl(kuhn, 1, rates)] as const;
    const { policy, transition } = balancedTree(kuhn, player, rates);
    const total = summedEstimates(kuhn, learners, player, (x) => rates.gamma / transition[x]!, 500);
    const leader = dilatedEntropyLeader(
      kuhn.forms[player],
      total,
      transition.map((p) => rates.eta / p),
      policy,
    );
    kuhn.forms[player].infosets.forEach(({ first }, x) => {
      expect(Math.abs(firstProbability(learners[player], x, 2) - leader[first]!)).toBeLessThan(1e-10);
    });
  },
);

test("without implicit exploration the loss estimates are unbiased", () => {
  // Rates too small to move the policies leave every estimate at the uniform plans, so their mean is estimable.
  const rates = { eta: 1e-12, gamma: 0 };
  const learners = [ixomd(rates), ixomd(rates)] as const;
  const episodes = 60_000;
  const means = summedEstimates(kuhn, learners, 0, () => 0, episodes).map((total) => total / episodes);
  const opponent = realizationPlan(kuhn.forms[1], uniformProfile(kuhn)[1]);
  const gradient = payoffGradient(kuhn, 0, opponent);
  const ones: GameTree = {
    ...kuhn,
    // Every deal has probability 1/6.
    payoffs: { ...kuhn.payoffs, weighted: kuhn.payoffs.weighted.map(() => 1 / 6) },
  };
  const reach = payoffGradient(ones, 0, opponent);
  // loss = (2 − u)/4 times the reach of chance and opponent; standard errors are below 0.004.
  means.forEach((mean, s) => {
    expect(Math.abs(mean - (2 * reach[s]! - gradient[s]!) / 4)).toBeLessThan(0.016);
  });
});

test("adaptive FTRL with constant rates is IXOMD, with growing ones it is not", () => {
  const rates = { eta: 0.1, gamma: 0.01 };
  const play = (make: () => SelfPlayLearner): number[] =>
    [...selfPlay(kuhn, [make(), make()], { checkpoints: [10, 1000, 5000], random: randomStream(5) })].map(
      (point) => point.nashConv,
    );
  const constant = play(() => ixomd(rates));
  play(() => adaptiveFtrl({ ...rates, power: 0 })).forEach((gap, i) => {
    expect(gap).toBeCloseTo(constant[i]!, 10);
  });
  expect(play(() => adaptiveFtrl(rates))[2]).not.toBeCloseTo(constant[2]!, 3);
});

test("the average is that of the realization plans", () => {
  const rates = { eta: 0.2, gamma: 0.01 };
  const learners = [ixomd(rates), ixomd(rates)] as const;
  const random = randomStream(11);
  const paths: [Decision[], Decision[]] = [[], []];
  const form = kuhn.forms[0];
  const total = new Float64Array(form.sequences);
  for (let t = 0; t < 300; t++) {
    const strategy = new Float64Array(form.sequences);
    strategy[0] = 1;
    form.infosets.forEach(({ first }, x) => {
      const p = firstProbability(learners[0], x, 2);
      strategy.set([p, 1 - p], first);
    });
    realizationPlan(form, strategy).forEach((p, s) => {
      total[s]! += p;
    });
    const end = playEpisode(kuhn, learners, random, paths);
    const loss = (2 - kuhn.utility[end]!) / 4;
    learners[0].endEpisode(paths[0], loss);
    learners[1].endEpisode(paths[1], 1 - loss);
  }
  for (const [x, policy] of learners[0].averagePolicy()) {
    const { first } = form.infosets[x]!;
    expect(policy[0]).toBeCloseTo(total[first]! / (total[first]! + total[first + 1]!), 10);
  }
});

test.each([
  ["balanced FTRL", (p: Player) => balancedFtrl(kuhn, p, { eta: 0.02, gamma: 0.001 })],
  ["adaptive FTRL", () => adaptiveFtrl({ eta: 50, gamma: 2.5 })],
  ["balanced OMD", (p: Player) => balancedOmd(kuhn, p, { eta: 0.04, gamma: 0.002 })],
  ["IXOMD", () => ixomd({ eta: 0.02, gamma: 0.001 })],
] as const)("%s gets closer to equilibrium in Kuhn poker", (_, make) => {
  const [point] = [...selfPlay(kuhn, [make(0), make(1)], { checkpoints: [50_000], random: randomStream(2) })];
  expect(point!.nashConv).toBeLessThan(0.3);
});

test("refuses rates that make no sense", () => {
  expect(() => ixomd({ eta: 0, gamma: 0 })).toThrow(RangeError);
  expect(() => balancedFtrl(kuhn, 0, { eta: 1, gamma: -1 })).toThrow(RangeError);
  expect(() => balancedOmd(kuhn, 0, { eta: Number.NaN, gamma: 0 })).toThrow(RangeError);
  expect(() => adaptiveFtrl({ eta: 1, gamma: 0, prior: 0 })).toThrow(RangeError);
});
