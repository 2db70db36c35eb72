import { describe, expect, test } from "vitest";
import { randomStream } from "../stats/index.ts";
import { banditFtrl, banditRegret, stochasticBandit, switchingBandit } from "./bandits.ts";
import { entropy, tsallis } from "./regularizers.ts";

const exp3 = (arms: number, rounds: number) =>
  banditFtrl(arms, {
    regularizer: entropy,
    rate: () => Math.sqrt((2 * Math.log(arms)) / (arms * rounds)),
  });
const tsallisInf = (arms: number) =>
  banditFtrl(arms, { regularizer: tsallis(), rate: (t) => 2 / Math.sqrt(t) });

const meanRegret = (play: (seed: number) => Float64Array): number =>
  [0, 1, 2, 3, 4, 5].reduce((sum, seed) => sum + play(seed).at(-1)! / 6, 0);

describe("bandits", () => {
  test("playing at random pays the mean gap every round", () => {
    const environment = stochasticBandit([0.2, 0.6, 0.7]);
    const learner = { act: () => 1, observe: () => {} };
    const regret = banditRegret(environment, learner, { rounds: 100, random: randomStream(0) });
    expect(regret.at(-1)).toBeCloseTo(40, 9);
  });

  test("Exp3 stays within its bound √(2TK log K), also when the best arm changes", () => {
    const rounds = 4000;
    const bound = Math.sqrt(2 * rounds * 4 * Math.log(4));
    for (const environment of [
      stochasticBandit([0.4, 0.5, 0.5, 0.6]),
      switchingBandit([
        { means: [0.1, 0.5, 0.9, 0.9], until: 1500 },
        { means: [0.9, 0.2, 0.5, 0.9], until: Number.POSITIVE_INFINITY },
      ]),
    ]) {
      const regret = meanRegret((seed) =>
        banditRegret(environment, exp3(4, rounds), { rounds, random: randomStream(seed) }),
      );
      expect(regret).toBeLessThan(bound);
    }
  });

  test("Tsallis-INF beats Exp3 when losses are stochastic, with no knowledge of the horizon", () => {
    const rounds = 4000;
    const environment = stochasticBandit([0.3, 0.6, 0.6, 0.6]);
    const of = (make: () => ReturnType<typeof exp3>) =>
      meanRegret((seed) => banditRegret(environment, make(), { rounds, random: randomStream(seed) }));
    expect(of(() => tsallisInf(4))).toBeLessThan(of(() => exp3(4, rounds)));
  });

  test("the same seed gives the same play", () => {
    const play = () =>
      banditRegret(stochasticBandit([0.2, 0.6]), tsallisInf(2), { rounds: 200, random: randomStream(9) });
    expect(play()).toEqual(play());
  });

  test("refuses means outside [0, 1], ragged phases and an end", () => {
    expect(() => stochasticBandit([0.1, 1.2])).toThrow(RangeError);
    expect(() => stochasticBandit([0.1])).toThrow(RangeError);
    expect(() => switchingBandit([{ means: [0.1, 0.2], until: 10 }])).toThrow(/last phase/);
  });
});
