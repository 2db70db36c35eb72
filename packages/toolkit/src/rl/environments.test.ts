import { data, tensor } from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { gridWorld, valueIteration } from "../mdp/index.ts";
import { randomStream } from "../stats/index.ts";
import {
  cartPole,
  mdpEnvironment,
  pendulum,
  playEpisodes,
  pointMass,
  randomBehaviour,
  randomMaze,
  startStates,
  type TracedEnvironment,
  tracedReturns,
} from "./index.ts";

const random = randomStream(0);

describe("dynamics by hand", () => {
  test("a cart pushed to the right from rest, pole upright", () => {
    const { state, reward, terminal } = cartPole().step(new Float64Array(4), 1, random);
    // push = 10/1.1; turn = −push / (0.5 (4/3 − 0.1/1.1)); acceleration = push − 0.05 turn / 1.1.
    const turn = -(10 / 1.1) / (0.5 * (4 / 3 - 0.1 / 1.1));
    expect([...state]).toEqual([
      0,
      expect.closeTo(0.02 * (10 / 1.1 - (0.05 * turn) / 1.1), 12),
      0,
      expect.closeTo(0.02 * turn, 12),
    ]);
    expect([reward, terminal]).toEqual([1, false]);
    // The value that Gymnasium prints for this step.
    expect(state[1]).toBeCloseTo(0.195121951, 8);
  });

  test("the pole has fallen at 12 degrees, and the cart is off the track at 2.4", () => {
    const lean = (angle: number) => cartPole().step(Float64Array.of(0, 0, angle, 0), 0, random).terminal;
    expect([lean(0.2094), lean(0.2095)]).toEqual([false, true]);
    expect(cartPole().step(Float64Array.of(2.39, 1, 0, 0), 1, random).terminal).toBe(true);
  });

  test("a pendulum at rest on its side", () => {
    const { state, reward } = pendulum().step(Float64Array.of(Math.PI / 2, 0), [0.5], random);
    // Gravity 15 sin(π/2), torque 3 · 1: faster by 0.05 · 18.
    expect([...state]).toEqual([expect.closeTo(Math.PI / 2 + 0.05 * 0.9, 12), expect.closeTo(0.9, 12)]);
    expect(reward).toBeCloseTo(-((Math.PI / 2) ** 2 + 0.001), 12);
  });

  test("a pendulum's angle is wrapped for the reward, its speed and torque are limited", () => {
    const turned = pendulum().step(Float64Array.of(2 * Math.PI + 0.1, 0), [0], random);
    expect(turned.reward).toBeCloseTo(-0.01, 12);
    const fast = pendulum().step(Float64Array.of(Math.PI / 2, 8), [7], random);
    expect(fast.state[1]).toBe(8);
    expect(fast.reward).toBeCloseTo(-((Math.PI / 2) ** 2 + 6.4 + 0.004), 12);
  });

  test("a mass on a table, pushed and dragged, and stopped at the edge", () => {
    const { state, reward } = pointMass().step(Float64Array.of(0.5, 0, 0, 1), [1, -1], random);
    // Speeds 0 + 0.1 · 2 and 1 + 0.1 (−2 − 0.5).
    expect([...state]).toEqual([0.52, 0.075, 0.2, 0.75].map((v) => expect.closeTo(v, 12)));
    expect(reward).toBeCloseTo(-Math.hypot(0.52, 0.075), 12);
    const edge = pointMass().step(Float64Array.of(0.99, 0, 2, 0), [1, 0], random);
    expect(edge.state[0]).toBe(1);
    expect(edge.state[2]).toBeCloseTo(0.1, 12);
  });

  test("actions of the wrong kind are refused", () => {
    expect(() => cartPole().step(new Float64Array(4), 2, random)).toThrow(/0 to 1/);
    expect(() => pendulum().step(new Float64Array(2), 1, random)).toThrow(/1 numbers/);
    expect(() => pointMass().step(new Float64Array(4), [1], random)).toThrow(TypeError);
  });
});

describe("traced dynamics are the plain ones", () => {
  test.each<[string, TracedEnvironment]>([
    ["cart-pole", cartPole({ horizon: 30 })],
    ["pendulum", pendulum({ horizon: 30 })],
    ["point mass", pointMass({ horizon: 30 })],
  ])("%s", async (_, environment) => {
    const stream = randomStream(4);
    const count = 16;
    const states = Array.from({ length: count }, () => environment.start(stream).map((v) => 3 * v));
    const size = environment.actions.kind === "box" ? environment.actions.size : 1;
    const discrete = environment.actions.kind === "discrete";
    const actions = states.map(() =>
      Array.from({ length: size }, () => (discrete ? stream.integer(2) : 2.4 * stream.uniform() - 1.2)),
    );
    const flat = tensor(Float64Array.from(states.flatMap((s) => [...s])), {
      shape: [count, environment.stateSize],
    });
    const taken = discrete
      ? tensor(Int32Array.from(actions.flat()))
      : tensor(Float64Array.from(actions.flat()), { shape: [count, size] });
    const { state, reward, terminal } = environment.traced.step(flat, taken);
    const [next, rewards, ends, seen] = [
      await data(state),
      await data(reward),
      await data(terminal),
      await data(environment.traced.observe(flat)),
    ];
    states.forEach((s, i) => {
      const plain = environment.step(s, discrete ? actions[i]![0]! : actions[i]!, stream);
      plain.state.forEach((v, d) => {
        expect(next[i * environment.stateSize + d]).toBeCloseTo(v, 10);
      });
      expect(rewards[i]).toBeCloseTo(plain.reward, 10);
      expect(ends[i]).toBe(plain.terminal ? 1 : 0);
      environment.observe(s).forEach((v, d) => {
        expect(seen[i * environment.observationSize + d]).toBeCloseTo(v, 10);
      });
    });
  });

  test("returns of whole episodes, also of those that end early", async () => {
    const environment = cartPole({ horizon: 60 });
    const stream = randomStream(2);
    const starts = startStates(environment, 12, stream);
    const values = await data(starts);
    // Pushes towards the side to which the pole leans.
    const traced = await data(
      tracedReturns(environment, (o) => tensor(Int32Array.from({ length: o.shape[0]! }, () => 1)), starts),
    );
    for (let i = 0; i < 12; i++) {
      let state = Float64Array.from(values.slice(4 * i, 4 * i + 4));
      let total = 0;
      for (let t = 0; t < 60; t++) {
        const step = environment.step(state, 1, stream);
        total += step.reward;
        if (step.terminal) break;
        state = step.state as Float64Array<ArrayBuffer>;
      }
      expect(traced[i]).toBe(total);
    }
  });
});

describe("finite MDPs as environments", () => {
  test("an episode of the optimal policy earns what value iteration promises", () => {
    const mdp = gridWorld(["S..", ".#.", "..G"], { stepReward: -0.1, discount: 0.999 });
    const { policy, values } = valueIteration(mdp);
    const environment = mdpEnvironment(mdp);
    const { returns, transitions } = playEpisodes(
      environment,
      (_, __, state) => policy.subarray(4 * state[0]!, 4 * state[0]! + 4).indexOf(1),
      3,
      randomStream(0),
    );
    // Three steps and the goal.
    expect(returns[0]).toBeCloseTo(1 - 0.3, 12);
    expect(returns[0]! - values[0]!).toBeLessThan(0.01);
    expect([...transitions.terminals]).toEqual([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    expect(transitions.observations.slice(0, 9)).toEqual(Float32Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0));
  });

  test("a random maze joins all its rooms without loops", () => {
    const maze = randomMaze({ rows: 5, columns: 7 }, randomStream(1));
    expect(maze).toHaveLength(9);
    expect(maze[0]![0]).toBe("S");
    expect(maze[8]![12]).toBe("G");
    const free = maze.join("").replaceAll("#", "").length;
    // 35 rooms and 34 doors: a spanning tree.
    expect(free).toBe(35 + 34);
    const { values } = valueIteration(gridWorld(maze, { discount: 0.99 }));
    expect(values[0]).toBeGreaterThan(0);
    expect(() => randomMaze({ rows: 1, columns: 1 }, randomStream(0))).toThrow(RangeError);
  });

  test("random behaviour uses all actions", () => {
    const act = randomBehaviour(cartPole());
    const taken = Array.from({ length: 50 }, () => act(new Float64Array(4), random, new Float64Array(4)));
    expect(new Set(taken)).toEqual(new Set([0, 1]));
  });
});
