import { data, item, jit, mean, mul, random, sub, type Tensor, tensor, zeros } from "@prior-art/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gridWorld } from "../mdp/index.ts";
import { randomStream } from "../stats/index.ts";
import {
  type Agent,
  behaviourCloning,
  cartPole,
  clippedDoubleTarget,
  clippedSurrogate,
  criticEnsemble,
  DATA_NOISE,
  dataControls,
  discountedReturns,
  dqn,
  type Environment,
  follow,
  generalizedAdvantages,
  greedyTarget,
  hostMlp,
  mdpEnvironment,
  normalizedScore,
  normalizedValueLoss,
  type OfflineAgent,
  offlineData,
  offlineEnvironment,
  playEpisodes,
  pointMass,
  ppo,
  ReplayBuffer,
  randomMaze,
  referenceReturns,
  replayLearning,
  sac,
  squashedGaussian,
  startStates,
  td3,
  td3bc,
  tracedReturns,
  trainOffline,
} from "./index.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

describe("advantages", () => {
  /** The definition: sums of discounted one-step errors up to the end of the episode. */
  const bruteForce = (r: number[], v: number[], ends: boolean[], g: number, l: number): number[] =>
    r.map((_, t) => {
      let total = 0;
      for (let k = t; k < r.length; k++) {
        const error = r[k]! + (ends[k] ? 0 : g * v[k + 1]!) - v[k]!;
        total += (g * l) ** (k - t) * error;
        if (ends[k]) break;
      }
      return total;
    });

  test("are the sums that define them", () => {
    const number = fc.double({ min: -5, max: 5, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(number, number, fc.boolean()), { minLength: 1, maxLength: 12 }),
        number,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (steps, last, lambda) => {
          const rewards = steps.map(([r]) => r);
          const values = [...steps.map(([, v]) => v), last];
          const terminals = steps.map(([, , end]) => end);
          const { advantages, returns } = generalizedAdvantages({
            rewards,
            values,
            terminals,
            discount: 0.9,
            lambda,
          });
          bruteForce(rewards, values, terminals, 0.9, lambda).forEach((a, t) => {
            expect(advantages[t]).toBeCloseTo(a, 9);
            expect(returns[t]).toBeCloseTo(a + values[t]!, 9);
          });
        },
      ),
    );
  });

  test("λ = 1 without values are discounted returns", () => {
    const rewards = [1, 0, -2, 4];
    const { advantages } = generalizedAdvantages({
      rewards,
      values: [0, 0, 0, 0, 0],
      terminals: [0, 0, 0, 1],
      discount: 0.5,
      lambda: 1,
    });
    expect([...advantages]).toEqual([...discountedReturns(rewards, 0.5)]);
    expect(advantages[0]).toBe(1 - 0.5 + 0.5);
    expect(() => generalizedAdvantages({ rewards, values: [0], terminals: [0] })).toThrow(/5 values/);
  });
});

describe("targets", () => {
  const batch = { rewards: tensor([1, 2]), terminals: tensor([0, 1]) };

  test("TD3 bootstraps from the smaller critic, and not beyond the end", async () => {
    const values = tensor([
      [10, 10],
      [4, 20],
    ]);
    expect(await numbers(clippedDoubleTarget(batch, values, 0.5))).toEqual([3, 2]);
  });

  test("double DQN asks the target for the action that the network chooses", async () => {
    const target = tensor([
      [1, 8],
      [5, 5],
    ]);
    const online = tensor([
      [3, 2],
      [0, 1],
    ]);
    expect(await numbers(greedyTarget(batch, target, target, 0.5))).toEqual([5, 2]);
    expect(await numbers(greedyTarget(batch, target, online, 0.5))).toEqual([1.5, 2]);
  });

  test("targets follow at their rate", async () => {
    expect(await numbers(follow(tensor([0, 10]), tensor([1, 0]), 0.1))).toEqual([expect.closeTo(0.1, 6), 9]);
  });
});

test("the density of squashed Gaussians adds up to one", async () => {
  // By quadrature over the draw's noise: E[1/p(a)] over a ∈ (−1, 1) is the interval's length, 2.
  const count = 4001;
  const epsilon = Float64Array.from({ length: count }, (_, i) => -8 + (16 * i) / (count - 1));
  const outputs = tensor(
    Float64Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? 0.3 : -0.5)),
    {
      shape: [count, 2],
    },
  );
  const { logDensity, actions } = squashedGaussian(outputs, tensor(epsilon, { shape: [count, 1] }));
  const [logs, a] = [await numbers(logDensity), await numbers(actions)];
  let mass = 0;
  for (let i = 1; i < count; i++)
    mass += ((Math.exp(logs[i]!) + Math.exp(logs[i - 1]!)) / 2) * (a[i]! - a[i - 1]!);
  expect(mass).toBeCloseTo(1, 4);
});

test("the clipped surrogate stops paying for ratios beyond its range", async () => {
  const ratio = (r: number[]) => tensor(r.map(Math.log));
  const gains = await numbers(
    clippedSurrogate(ratio([2, 0.5, 2, 0.5]), zeros([4]), tensor([1, 1, -1, -1]), 0.2),
  );
  [1.2, 0.5, -2, -0.8].forEach((v, i) => {
    expect(gains[i]).toBeCloseTo(v, 5);
  });
});

test("the normalized value loss does not depend on the rewards' units", async () => {
  const values = tensor([3, -1, 4]);
  expect(await item(normalizedValueLoss(values))).toBeCloseTo(-6 / 8, 6);
  expect(await item(normalizedValueLoss(mul(values, 100)))).toBeCloseTo(-6 / 8, 6);
});

test("critics of an ensemble are different networks of their own", async () => {
  const critics = criticEnsemble(3, 2, [8]);
  const params = critics.init(random.key(0));
  const values = critics.apply(params, random.normal(random.key(1), [5, 3]), zeros([5, 2]));
  expect(values.shape).toEqual([2, 5]);
  const [first, second] = await numbers(mean(values, 1));
  expect(first).not.toBeCloseTo(second!, 4);
});

test("a perceptron on the host is the traced one", async () => {
  const agent = dqn({ observationSize: 3, actions: 4, hidden: [8, 8] });
  const state = await agent.init(random.key(0), {} as never);
  const input = [0.3, -2, 1];
  const host = (await hostMlp(state.params))(input);
  const greedy = (await numbers(agent.policy(state)(tensor([input]))))[0]!;
  expect(greedy).toBe(host.indexOf(Math.max(...host)));
  expect(host).toHaveLength(4);
});

describe("replay", () => {
  const transition = (value: number) => ({
    observation: [value, 0, 0, 0],
    action: 1,
    reward: value,
    nextObservation: [value + 1, 0, 0, 0],
    terminal: value === 3,
  });

  test("a full buffer forgets the oldest", async () => {
    const buffer = new ReplayBuffer(cartPole(), 3);
    expect(() => buffer.sample(1, randomStream(0))).toThrow(/nothing/);
    for (let i = 0; i < 5; i++) buffer.add(transition(i));
    const { rewards, terminals, count } = buffer.dataset();
    expect([count, ...rewards, ...terminals]).toEqual([3, 2, 3, 4, 0, 1, 0]);
    const { observations, nextObservations } = buffer.sample(20, randomStream(0));
    expect(observations.shape).toEqual([20, 4]);
    const ahead = await numbers(sub(nextObservations, observations));
    expect(ahead.filter((_, i) => i % 4 === 0).every((v) => v === 1)).toBe(true);
  });
});

describe("offline data", () => {
  test.each(["pendulum", "point-mass"] as const)("of %s is graded as it says", (task) => {
    const scores = (["random", "medium", "mixed", "expert"] as const).map((quality) => {
      const { returns } = offlineData({ task, quality, episodes: 30, seed: 1 });
      return normalizedScore(task, returns.reduce((a, b) => a + b, 0) / returns.length);
    });
    expect(Math.abs(scores[0]!)).toBeLessThan(10);
    expect(scores[1]).toBeGreaterThan(25);
    expect(scores[1]).toBeLessThan(70);
    expect(scores[2]).toBeGreaterThan(scores[1]! + 2);
    expect(scores[3]).toBeGreaterThan(90);
    const { random: low, expert } = referenceReturns(task);
    expect(normalizedScore(task, (low + expert) / 2)).toBeCloseTo(50, 10);
  });

  test("lies where its controllers act, up to noise", () => {
    const { observations, actions, count } = offlineData({
      task: "point-mass",
      quality: "mixed",
      episodes: 4,
      seed: 2,
    }).transitions;
    for (let i = 0; i < count; i++) {
      const state = Float64Array.from(observations.subarray(4 * i, 4 * i + 4));
      const controls = dataControls("point-mass", "mixed", state);
      const furthest = (control: Float64Array): number =>
        Math.max(...control.map((v, d) => Math.abs(v - actions[2 * i + d]!)));
      expect(Math.min(...controls.map(furthest))).toBeLessThan(5 * DATA_NOISE);
    }
    expect(dataControls("pendulum", "random", new Float64Array(2))).toEqual([]);
  });

  test("comes out the same for the same seed", () => {
    const make = (seed: number) =>
      offlineData({ task: "pendulum", quality: "mixed", episodes: 5, seed }).transitions;
    expect(make(3)).toEqual(make(3));
    expect(make(3).actions).not.toEqual(make(4).actions);
  });
});

describe("agents learn", () => {
  const scoreOf = async (agent: Agent, environment: Environment, steps: number): Promise<number> => {
    let score = Number.NEGATIVE_INFINITY;
    for await (const { behaviour } of agent.learn(environment, { steps, seed: 0 })) {
      const { returns } = playEpisodes(environment, behaviour, 10, randomStream(9));
      score = returns.reduce((a, b) => a + b, 0) / returns.length;
    }
    return score;
  };

  test("DQN finds its way through a maze", async () => {
    const maze = randomMaze({ rows: 3, columns: 3 }, randomStream(3));
    const environment = mdpEnvironment(gridWorld(maze, { stepReward: -0.05 }), { horizon: 50 });
    const agent = replayLearning(
      (e) => dqn({ observationSize: e.observationSize, actions: 4, hidden: [32] }),
      { warmup: 200 },
    );
    expect(await scoreOf(agent, environment, 2500)).toBeGreaterThan(0.4);
  });

  test("PPO balances a pole for 200 steps", async () => {
    expect(await scoreOf(ppo({ hidden: [32, 32] }), cartPole({ horizon: 200 }), 12_288)).toBeGreaterThan(150);
  });

  test.each([
    ["TD3", td3],
    ["SAC", sac],
  ] as const)(
    "%s brings a mass to the middle",
    async (_, make) => {
      const agent = replayLearning<never>(
        ({ observationSize }) => make({ observationSize, actionSize: 2, hidden: [32, 32] }) as never,
        { warmup: 300 },
      );
      // Random actions earn −37, the expert −5.
      expect(await scoreOf(agent, pointMass(), 2500)).toBeGreaterThan(-22);
    },
    60_000,
  );

  test("cloning an expert is as good as the expert, TD3+BC better than mediocre data", async () => {
    const environment = offlineEnvironment("point-mass");
    const sizes = { observationSize: 4, actionSize: 2, hidden: [32, 32] };
    const train = async <S>(
      agent: OfflineAgent<S>,
      quality: "expert" | "mixed",
      steps: number,
    ): Promise<number> => {
      const { transitions } = offlineData({ task: "point-mass", quality, seed: 1 });
      let state: S | undefined;
      for await (const progress of trainOffline(agent, transitions, {
        steps,
        batchSize: 64,
        key: random.key(0),
      }))
        state = progress.state;
      const starts = startStates(environment, 40, randomStream(5));
      const judge = jit((s: S) => mean(tracedReturns(environment, agent.policy(s), starts)));
      return normalizedScore("point-mass", await item(await judge(state!)));
    };
    expect(await train(behaviourCloning(sizes), "expert", 1500)).toBeGreaterThan(90);
    // The data's own episodes score 57 on average.
    expect(
      await train(td3bc({ ...sizes, hidden: [64, 64], targetRate: 0.02 }), "mixed", 3500),
    ).toBeGreaterThan(70);
  });

  test("the numbers don't depend on how often training reports", async () => {
    const { transitions } = offlineData({ task: "pendulum", quality: "medium", episodes: 3, seed: 1 });
    const agent = behaviourCloning({ observationSize: 3, actionSize: 1, hidden: [8] });
    const train = async (stepsPerRun: number): Promise<number[]> => {
      let last: Tensor | undefined;
      const options = { steps: 6, batchSize: 8, key: random.key(1), stepsPerRun };
      for await (const { state } of trainOffline(agent, transitions, options))
        last = state.actor.layers[0]!.weight;
      return numbers(last!);
    };
    expect(await train(2)).toEqual(await train(6));
    await expect(trainOffline(agent, transitions, { steps: 0, key: random.key(0) }).next()).rejects.toThrow(
      RangeError,
    );
  });
});
