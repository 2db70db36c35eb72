import {
  add,
  cast,
  data,
  equal,
  jit,
  mul,
  scalar,
  scan,
  sub,
  type Tensor,
  tensor,
  toArray,
  treeMap,
  vmap,
  zerosLike,
} from "@prior-art/tensor";
import type { GradientTransformation } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import {
  expectChangesRefused,
  expectNonFiniteSkipped,
  expectRatesRefused,
  type Layer,
} from "../testing/contract.ts";
import { close, double, numbers } from "../testing/doubles.ts";
import { descent, path } from "../testing/paths.ts";
import {
  adamL2,
  adamw,
  addDecayedWeights,
  cosineWarmRestarts,
  normalizedWeightDecay,
  sgdL2,
  sgdw,
} from "./method.ts";

/** Parameters after `steps` steps. */
const trajectory = async <S>(
  optimizer: GradientTransformation<Tensor, S>,
  start: readonly number[],
  steps: number,
  gradient: (theta: Tensor, step: number) => Tensor,
): Promise<number[]> => numbers((await descent(optimizer, double(start), steps, gradient))[steps]!);

/** Gradient of a quadratic bowl with curvatures 1 and 20 around (1, -2), turned a little each step. */
const bowl = (theta: Tensor, step: number): Tensor =>
  mul(double([1, 20 + (step % 3)]), sub(theta, double([1, -2])));

const largestGap = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));

describe("SGD", () => {
  const rate = 0.01;
  const decay = 1e-3;

  test("without momentum, L2 with λ/α and decoupled decay λ are the same for 100 steps", async () => {
    const l2 = await trajectory(
      sgdL2({ learningRate: rate, momentum: 0, weightDecay: decay / rate }),
      [3, 1],
      100,
      bowl,
    );
    const decoupled = await trajectory(
      sgdw({ learningRate: rate, momentum: 0, weightDecay: decay }),
      [3, 1],
      100,
      bowl,
    );
    expect(largestGap(l2, decoupled)).toBeLessThan(1e-13);
  });

  test("with momentum they differ, since the penalty's gradient enters the momentum", async () => {
    const l2 = await trajectory(sgdL2({ learningRate: rate, weightDecay: decay / rate }), [3, 1], 20, bowl);
    const decoupled = await trajectory(sgdw({ learningRate: rate, weightDecay: decay }), [3, 1], 20, bowl);
    expect(largestGap(l2, decoupled)).toBeGreaterThan(1e-3);
  });

  test("two steps of SGDW with momentum, by hand", async () => {
    // m₁ = .1·2 = .2, θ₁ = 1 - .2 - .01 = .79; m₂ = .9·.2 + .1·2 = .38, θ₂ = .79 - .38 - .0079.
    const theta = await trajectory(sgdw({ learningRate: 0.1, weightDecay: 0.01 }), [1], 2, () => double([2]));
    expect(theta[0]).toBeCloseTo(0.4021, 12);
  });
});

describe("without gradients", () => {
  const none = (theta: Tensor): Tensor => zerosLike(theta);
  const schedule = cosineWarmRestarts({ firstPeriod: 10 });

  test("AdamW shrinks the weights by ∏(1 - η λ)", async () => {
    const [theta] = await trajectory(adamw({ learningRate: 0.1, weightDecay: 0.05, schedule }), [2], 7, none);
    let expected = 2;
    for (let s = 0; s < 7; s++) expected *= 1 - (0.5 + 0.5 * Math.cos((Math.PI * s) / 10)) * 0.05;
    expect(theta).toBeCloseTo(expected, 12);
  });

  test("Adam with L2 moves by α · sign(θ) instead, however small the penalty", async () => {
    const [theta] = await trajectory(adamL2({ learningRate: 0.1, weightDecay: 1e-4 }), [2], 1, none);
    expect(theta).toBeCloseTo(1.9, 4);
  });
});

describe("Adam", () => {
  test("the first step has the paper's value", async () => {
    const gradient = () => double([0.5]);
    const [decoupled] = await trajectory(adamw({ learningRate: 0.1, weightDecay: 0.01 }), [1], 1, gradient);
    expect(decoupled).toBeCloseTo(1 - (0.1 * 0.5) / (0.5 + 1e-8) - 0.01, 12);
    const [coupled] = await trajectory(adamL2({ learningRate: 0.1, weightDecay: 0.01 }), [1], 1, gradient);
    expect(coupled).toBeCloseTo(1 - (0.1 * 0.51) / (0.51 + 1e-8), 12);
  });

  test("five steps follow the textbook recursion", async () => {
    const [alpha, b1, b2, eps, lambda] = [0.05, 0.8, 0.95, 1e-6, 0.02];
    let [theta, m, v] = [1.5, 0, 0];
    for (let t = 1; t <= 5; t++) {
      const g = 3 * (theta - 0.2);
      m = b1 * m + (1 - b1) * g;
      v = b2 * v + (1 - b2) * g * g;
      theta -= (alpha * m) / (1 - b1 ** t) / (Math.sqrt(v / (1 - b2 ** t)) + eps) + lambda * theta;
    }
    const optimizer = adamw<Tensor>({ learningRate: alpha, weightDecay: lambda, betas: [b1, b2], eps });
    const [ours] = await trajectory(optimizer, [1.5], 5, (p) => mul(3, sub(p, 0.2)));
    expect(ours).toBeCloseTo(theta, 12);
  });

  test("λ = 0 makes AdamW and Adam with L2 the same", async () => {
    const a = await trajectory(adamw({ learningRate: 0.1, weightDecay: 0 }), [3, 1], 30, bowl);
    const b = await trajectory(adamL2({ learningRate: 0.1, weightDecay: 0 }), [3, 1], 30, bowl);
    expect(largestGap(a, b)).toBe(0);
  });

  test("β₁ = β₂ = 0 and ε = 0 is sign descent with decay", async () => {
    const optimizer = adamw<Tensor>({ learningRate: 0.1, weightDecay: 0.01, betas: [0, 0], eps: 0 });
    const theta = await trajectory(optimizer, [3, -1], 1, () => double([0.3, -7]));
    expect(largestGap(theta, [3 - 0.1 - 0.03, -1 + 0.1 + 0.01])).toBeLessThan(1e-12);
  });

  test("rescaled gradients leave AdamW's path unchanged but not that of Adam with L2", async () => {
    const scaled = (theta: Tensor, step: number): Tensor => mul(1000, bowl(theta, step));
    const options = { learningRate: 0.1, weightDecay: 0.05, eps: 0 };
    const [w, wScaled] = [
      await trajectory(adamw(options), [3, 1], 20, bowl),
      await trajectory(adamw(options), [3, 1], 20, scaled),
    ];
    expect(largestGap(w, wScaled)).toBeLessThan(1e-9);
    const [l, lScaled] = [
      await trajectory(adamL2(options), [3, 1], 20, bowl),
      await trajectory(adamL2(options), [3, 1], 20, scaled),
    ];
    expect(largestGap(l, lScaled)).toBeGreaterThan(1e-3);
  });

  test("decayMode lr multiplies the decay by the rate, as libraries do", async () => {
    const a = await trajectory(
      adamw({ learningRate: 0.1, weightDecay: 0.5, decayMode: "lr" }),
      [3, 1],
      10,
      bowl,
    );
    const b = await trajectory(adamw({ learningRate: 0.1, weightDecay: 0.05 }), [3, 1], 10, bowl);
    expect(largestGap(a, b)).toBeLessThan(1e-12);
  });
});

describe("three steps with a schedule and a mask, written out", () => {
  const [alpha, lambda] = [0.1, 0.2];
  const etas = [1, 0.6, 0.25];
  const schedule = (step: Tensor): Tensor =>
    etas.map((eta, i) => mul(eta, cast(equal(step, i), "float64"))).reduce(add);
  type P = { readonly w: Tensor; readonly b: Tensor };
  const gradients = [
    { w: [0.5, -2], b: 0.3 },
    { w: [-1, 0.4], b: 0.1 },
    { w: [0.2, 0.7], b: -0.6 },
  ];
  const start = { w: double([1, -3], [2, 1]), b: double([2]) };

  /** One number after a step on its gradient, at step t from 1 on. */
  type Step = (theta: number, g: number, eta: number, t: number) => number;
  const written = (make: (decay: number) => Step): number[] => {
    const run = (theta: number, gs: readonly number[], decay: number): number => {
      const step = make(decay);
      return gs.reduce((at, g, i) => step(at, g, etas[i]!, i + 1), theta);
    };
    return [
      run(
        1,
        gradients.map(({ w }) => w[0]!),
        lambda,
      ),
      run(
        -3,
        gradients.map(({ w }) => w[1]!),
        lambda,
      ),
      run(
        2,
        gradients.map(({ b }) => b),
        0,
      ),
    ];
  };
  const adam =
    (coupled: boolean) =>
    (decay: number): Step => {
      let [m, v] = [0, 0];
      return (theta, raw, eta, t) => {
        const g = coupled ? raw + decay * theta : raw;
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        const moved = (alpha * (m / (1 - 0.9 ** t))) / (Math.sqrt(v / (1 - 0.999 ** t)) + 1e-8);
        return theta - eta * (moved + (coupled ? 0 : decay * theta));
      };
    };
  const sgd =
    (coupled: boolean) =>
    (decay: number): Step => {
      let m = 0;
      return (theta, raw, eta) => {
        m = 0.9 * m + eta * alpha * (coupled ? raw + decay * theta : raw);
        return theta - m - (coupled ? 0 : eta * decay * theta);
      };
    };
  const options = {
    learningRate: alpha,
    weightDecay: lambda,
    schedule,
    mask: (t: Tensor): boolean => t.rank > 1,
  };
  const cases: Record<string, [GradientTransformation<P, unknown>, number[]]> = {
    adamw: [adamw<P>(options), written(adam(false))],
    adamL2: [adamL2<P>(options), written(adam(true))],
    sgdw: [sgdw<P>(options), written(sgd(false))],
    sgdL2: [sgdL2<P>(options), written(sgd(true))],
  };
  for (const [name, [optimizer, expected]] of Object.entries(cases))
    test(name, async () => {
      const trees = gradients.map(({ w, b }) => ({ w: double(w, [2, 1]), b: double([b]) }));
      const { w, b } = (await path(optimizer, start, trees)).params[3]!;
      expect([...(await numbers(w)), ...(await numbers(b))]).toEqual(close(expected, 12));
    });
});

describe.each(Object.entries({ adamw, adamL2, sgdw, sgdL2 }) as [string, typeof adamw][])(
  "%s, as an optimizer of its family",
  (name, make) => {
    const options = { learningRate: 0.1, weightDecay: 0.01 };

    test("refuses rates, decays and momenta out of range, numbers only", () => {
      expectRatesRefused((learningRate) => make({ ...options, learningRate }));
      for (const weightDecay of [-5, Number.NaN, Number.POSITIVE_INFINITY])
        expect(() => make({ ...options, weightDecay })).toThrow(
          new RegExp(`${name}: the decay must be finite and not negative`),
        );
      const moments = name.startsWith("adam")
        ? [-0.1, 1, 2, Number.NaN].flatMap((beta) => [{ betas: [beta, 0.9] }, { betas: [0.9, beta] }])
        : [-0.1, 1, Number.NaN].map((momentum) => ({ momentum }));
      for (const bad of moments)
        expect(() => make({ ...options, ...(bad as object) })).toThrow(
          /decay rate must be from 0 to below 1/,
        );
      if (name.startsWith("adam"))
        for (const eps of [-1, Number.NaN])
          expect(() => make({ ...options, eps })).toThrow(/eps must not be negative/);
      expect(() => make({ learningRate: scalar(0.1), weightDecay: scalar(0.01) })).not.toThrow();
    });

    test("refuses a tree that changed since init, and gradients that don't fit", () => {
      expectChangesRefused(make<Record<string, Tensor>>(options), {
        state: new RegExp(`${name} \\(state\\): .* don't fit`),
        shapes: new RegExp(`${name}: the gradients .* don't fit`),
      });
    });

    test("skips non-finite gradients", async () => {
      await expectNonFiniteSkipped(make<Layer>(options));
    });
  },
);

test("the mask leaves biases alone", async () => {
  const params = { weight: double([1, 1], [2, 1]), bias: double([1]) };
  const none = treeMap(zerosLike, params);
  const optimizer = adamw<typeof params>({ learningRate: 0.1, weightDecay: 0.5, mask: (t) => t.rank > 1 });
  const [updates] = optimizer.update(none, optimizer.init(params), params);
  expect(await toArray(updates.weight)).toEqual([[-0.5], [-0.5]]);
  expect((await data(updates.bias))[0]).toBeCloseTo(0);
  const [penalized] = addDecayedWeights<typeof params>(2, (t) => t.rank > 1).update(none, null, params);
  expect([await toArray(penalized.weight), await toArray(penalized.bias)]).toEqual([[[2], [2]], [0]]);
});

test("a sweep under vmap and scan gives the numbers of single runs", async () => {
  const start = tensor([3, 1]);
  const run = (rate: Tensor, decay: Tensor): Tensor => {
    const optimizer = adamw<Tensor>({ learningRate: rate, weightDecay: decay });
    const [last] = scan(
      ({ theta, state }, target: Tensor) => {
        const [updates, next] = optimizer.update(sub(theta, target), state, theta);
        return [{ theta: add(theta, updates), state: next }, null];
      },
      { theta: start, state: optimizer.init(start) },
      tensor([
        [1, 2],
        [0, 1],
        [2, 2],
      ]),
    );
    return last.theta;
  };
  const rates = [0.1, 0.3];
  const decays = [0, 0.2];
  const all = await toArray(await jit(vmap(run))(tensor(rates), tensor(decays)));
  const single = await Promise.all(rates.map((r, i) => toArray(run(scalar(r), scalar(decays[i]!)))));
  expect((all as number[][]).flat()).toEqual((single as number[][]).flat().map((v) => expect.closeTo(v, 5)));
});

describe("schedules", () => {
  const at = async (
    options: Parameters<typeof cosineWarmRestarts>[0],
    steps: readonly number[],
  ): Promise<number[]> => {
    const schedule = cosineWarmRestarts(options);
    return Promise.all(steps.map(async (s) => (await data(schedule(scalar(s)) as Tensor))[0]!));
  };
  const close = (values: readonly number[]) => values.map((v) => expect.closeTo(v, 4));

  test("a single period is cosine annealing", async () => {
    expect(await at({ firstPeriod: 8 }, [0, 2, 4, 6])).toEqual(
      close([1, 0.5 + Math.SQRT1_2 / 2, 0.5, 0.5 - Math.SQRT1_2 / 2]),
    );
  });

  test("periods grow by the multiplier, and each starts at 1", async () => {
    // Periods of 10, 20 and 40 steps begin at 0, 10 and 30.
    expect(await at({ firstPeriod: 10, multiplier: 2 }, [0, 5, 10, 20, 30, 50, 70])).toEqual(
      close([1, 0.5, 1, 0.5, 1, 0.5, 1]),
    );
  });

  test("refuses periods and multipliers that make no sense", () => {
    expect(() => cosineWarmRestarts({ firstPeriod: 0 })).toThrow(RangeError);
    expect(() => cosineWarmRestarts({ firstPeriod: 5, multiplier: 0.5 })).toThrow(RangeError);
  });

  test("normalized decay has the paper's scaling", () => {
    const budget = { norm: 0.05, batchSize: 128, trainSize: 50_000, epochs: 100 };
    expect(normalizedWeightDecay(budget)).toBeCloseTo(2.529822e-4, 9);
    expect(normalizedWeightDecay({ ...budget, epochs: 400 })).toBeCloseTo(2.529822e-4 / 2, 9);
    expect(() => normalizedWeightDecay({ ...budget, epochs: 0 })).toThrow(RangeError);
  });
});
