import {
  data,
  item,
  jit,
  mean,
  mul,
  random,
  scalar,
  square,
  sub,
  type Tensor,
  tensor,
  zeros,
} from "@prior-art/tensor";
import { offlineData, trainOffline, transitionTensors } from "@prior-art/toolkit/rl";
import { randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import {
  type BehaviourDensityParams,
  behaviourDensity,
  cooledStrength,
  fitBehaviourDensity,
  spot,
  spotActorLoss,
} from "./method.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

/** Networks that don't look: q(z|s,a) = N(center, e^logDeviation), and the action tanh(raw) whatever z. */
const blind = (center: number, logDeviation: number, raw: number): BehaviourDensityParams => ({
  encoder: {
    layers: [{ weight: zeros([3, 4]), bias: tensor([center, center, logDeviation, logDeviation]) }],
  },
  decoder: { layers: [{ weight: zeros([4, 1]), bias: tensor([raw]) }] },
});
const BETA = 0.3;
const density = behaviourDensity({ observationSize: 2, actionSize: 1, hidden: [], beta: BETA });
const observations = tensor([
  [0, 1],
  [2, -1],
]);
const actions = tensor([[0.5], [-0.2]]);
const epsilon = (draws: number): Tensor => random.normal(random.key(3), [draws, 2, 2]);

describe("the density of behaviour", () => {
  test("the loss is the squared error plus β times the divergence from the prior", async () => {
    const [center, logDeviation, raw] = [0.7, -0.4, 0.3];
    const losses = await numbers(
      density.loss(blind(center, logDeviation, raw), observations, actions, zeros([2, 2])),
    );
    const divergence = (center ** 2 + Math.exp(2 * logDeviation) - 1 - 2 * logDeviation) / 2;
    [0.5, -0.2].forEach((a, i) => {
      expect(losses[i]).toBeCloseTo((Math.tanh(raw) - a) ** 2 + BETA * divergence, 5);
    });
  });

  test("with a decoder that ignores z, importance sampling gives the decoder's Gaussian of variance β/4", async () => {
    const exact = [0.5, -0.2].map(
      (a) => -((Math.tanh(0.3) - a) ** 2) / (2 * (BETA / 4)) - Math.log((2 * Math.PI * BETA) / 4) / 2,
    );
    // Exactly when the encoder is the prior, on average otherwise.
    const prior = await numbers(density.logDensity(blind(0, 0, 0.3), observations, actions, epsilon(1)));
    const other = await numbers(
      density.logDensity(blind(0.2, -0.1, 0.3), observations, actions, epsilon(4000)),
    );
    exact.forEach((value, i) => {
      expect(prior[i]).toBeCloseTo(value, 5);
      expect(Math.abs(other[i]! - value)).toBeLessThan(0.05);
    });
  });

  test("the loss is the negative evidence bound up to a factor and a constant", async () => {
    const wide = behaviourDensity({ observationSize: 2, actionSize: 1, hidden: [8], beta: BETA });
    const params = wide.init(random.key(0));
    const draws = epsilon(3000);
    let bound = [0, 0];
    // The mean over draws of log p(a|z) − KL is what one draw of importance sampling estimates.
    const single = jit((noise: Tensor) => ({
      loss: wide.loss(params, observations, actions, noise),
    }));
    const rows = await numbers(draws);
    for (let i = 0; i < 300; i++) {
      const noise = tensor(Float32Array.from(rows.slice(4 * i, 4 * i + 4)), { shape: [2, 2] });
      const { loss } = await single(noise);
      const values = await numbers(loss);
      bound = bound.map((v, j) => v + values[j]! / 300);
    }
    await single.release();
    const spread = BETA / 4;
    const constant = -Math.log(2 * Math.PI * spread) / 2;
    const logs = await numbers(wide.logDensity(params, observations, actions, draws));
    bound.forEach((loss, i) => {
      // Not above the log-density, and close to it for an encoder that is nearly the prior.
      expect(constant - loss / (2 * spread)).toBeLessThan(logs[i]! + 0.1);
    });
  });

  test("after fitting, actions of the data are likelier than actions between and beyond them", async () => {
    const stream = randomStream(0);
    const count = 1000;
    const states = Float32Array.from({ length: count }, () => 2 * stream.uniform() - 1);
    // Two ways to act in every state.
    const taken = states.map((s) => (stream.uniform() < 0.5 ? 0.7 : -0.7) + 0.2 * s + 0.03 * stream.normal());
    const fitted = behaviourDensity({ observationSize: 1, actionSize: 1, hidden: [32, 32], beta: 0.03 });
    const params = await fitBehaviourDensity(
      fitted,
      { observations: tensor(states, { shape: [count, 1] }), actions: tensor(taken, { shape: [count, 1] }) },
      random.key(0),
      { steps: 1200 },
    );
    const at = (action: number) =>
      item(
        mean(
          fitted.logDensity(
            params,
            zeros([1, 1]),
            tensor([[action]]),
            random.normal(random.key(1), [200, 1, 2]),
          ),
        ),
      );
    const [good, alsoGood, between, beyond] = [await at(0.7), await at(-0.7), await at(0), await at(0.99)];
    expect(Math.min(good, alsoGood)).toBeGreaterThan(between + 1);
    expect(Math.min(good, alsoGood)).toBeGreaterThan(beyond + 0.5);
  });

  test("β of zero is refused", () => {
    expect(() => behaviourDensity({ observationSize: 1, actionSize: 1, beta: 0 })).toThrow(RangeError);
  });
});

test("the actor's loss is the normalized value plus λ times the surprise, and doesn't depend on the rewards' units", async () => {
  const context = (strength: number, unit: number) => ({
    observations,
    actions,
    values: mul(tensor([3, -1]), unit),
    extra: { density: blind(0, 0, 0.3), strength: scalar(strength) },
    key: random.key(0),
  });
  const loss = (strength: number, unit = 1) => item(spotActorLoss(density, context(strength, unit)));
  expect(await loss(0)).toBeCloseTo(-1 / 2, 6);
  const surprise = ((Math.tanh(0.3) - 0.5) ** 2 + (Math.tanh(0.3) + 0.2) ** 2) / 2;
  expect(await loss(2)).toBeCloseTo(-1 / 2 + 2 * surprise, 5);
  expect(await loss(2, 1000)).toBeCloseTo(await loss(2), 5);
});

test("a strong constraint keeps the policy at the data's actions, none lets it leave them", async () => {
  const { transitions } = offlineData({ task: "point-mass", quality: "expert", episodes: 10, seed: 3 });
  const { observations: states, actions: taken } = transitionTensors(transitions);
  const distance = async (strength: number): Promise<number> => {
    const agent = spot({
      observationSize: 4,
      actionSize: 2,
      hidden: [32, 32],
      strength,
      beta: 0.1,
      targetRate: 0.02,
      fit: { steps: 800 },
    });
    let away = Number.NaN;
    for await (const { state } of trainOffline(agent, transitions, {
      steps: 800,
      batchSize: 64,
      key: random.key(0),
    }))
      away = await item(mean(square(sub(agent.policy(state)(states), taken))));
    return away;
  };
  const [strong, none] = [await distance(10), await distance(0)];
  expect(strong).toBeLessThan(0.05);
  expect(none).toBeGreaterThan(4 * strong);
});

test("the strength falls on a line to its end", () => {
  expect([0, 400, 800, 1000, 2000].map((step) => cooledStrength(step, 1000))).toEqual([
    1,
    0.6,
    expect.closeTo(0.2, 12),
    0.2,
    0.2,
  ]);
});
