import { mul, sub, sum, type Tensor, tensor, toArray, valueAndGrad } from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { adagrad, adam, adamw, lion, momentum, nesterov, rmsprop, sgd } from "./optimizers.ts";
import { applyUpdates, type GradientTransformation } from "./transformation.ts";

/** `Σ c (θ - a)²/2`, whose gradient is `c (θ - a)`. */
const curvature = [1, 10, 0.1];
const optimum = [1, -2, 3];
const begin = [0, 0, 0.5];
const STEPS = 12;

const vector = (values: readonly number[]): Tensor => tensor(values, { dtype: "float64" });

const quadratic = (theta: Tensor): Tensor => {
  const away = sub(theta, vector(optimum));
  return mul(0.5, sum(mul(vector(curvature), mul(away, away))));
};

/** The path of an optimizer over the quadratic. */
async function path<S>(optimizer: GradientTransformation<Tensor, S>): Promise<number[][]> {
  let theta = vector(begin);
  let state = optimizer.init(theta);
  const visited: number[][] = [];
  for (let step = 0; step < STEPS; step++) {
    const [, gradient] = valueAndGrad(quadratic)(theta);
    const [updates, next] = optimizer.update(gradient, state, theta);
    theta = applyUpdates(theta, updates);
    state = next;
    visited.push((await toArray(theta)) as number[]);
  }
  return visited;
}

/** The path of a rule for one coordinate, each with memory of its own, in plain numbers. */
function reference<M>(
  start: () => M,
  rule: (g: number, memory: M, theta: number, step: number) => number,
): number[][] {
  const theta = [...begin];
  const memories = theta.map(start);
  return Array.from({ length: STEPS }, (_, step) => {
    theta.forEach((value, i) => {
      const g = curvature[i]! * (value - optimum[i]!);
      theta[i] = value + rule(g, memories[i]!, value, step + 1);
    });
    return [...theta];
  });
}

function expectClose(actual: number[][], expected: number[][]): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((row, s) => {
    row.forEach((value, i) => {
      expect(value, `step ${s + 1}, coordinate ${i}`).toBeCloseTo(expected[s]![i]!, 11);
    });
  });
}

describe("optimizers follow their published rules on a quadratic", () => {
  test("gradient descent contracts each coordinate by 1 - rate · curvature", async () => {
    const closedForm = Array.from({ length: STEPS }, (_, s) =>
      optimum.map((a, i) => a + (begin[i]! - a) * (1 - 0.05 * curvature[i]!) ** (s + 1)),
    );
    expectClose(await path(sgd({ learningRate: 0.05 })), closedForm);
  });

  test("heavy ball", async () => {
    const expected = reference(
      () => ({ m: 0 }),
      (g, memory) => {
        memory.m = 0.9 * memory.m + g;
        return -0.02 * memory.m;
      },
    );
    expectClose(await path(momentum({ learningRate: 0.02 })), expected);
  });

  test("Nesterov's momentum is gradient descent at the point looked ahead to", async () => {
    // v ← 0.8 v - rate · f′(θ + 0.8 v), θ ← θ + v; the optimizer's parameters are the points θ + 0.8 v.
    const [rate, decay] = [0.02, 0.8];
    const theta = [...begin];
    const velocity = begin.map(() => 0);
    const expected = Array.from({ length: STEPS }, () =>
      theta.map((_, i) => {
        const ahead = theta[i]! + decay * velocity[i]!;
        velocity[i] = decay * velocity[i]! - rate * curvature[i]! * (ahead - optimum[i]!);
        theta[i] = theta[i]! + velocity[i]!;
        return theta[i]! + decay * velocity[i]!;
      }),
    );
    expectClose(await path(nesterov({ learningRate: rate, decay })), expected);
  });

  const adamRule = (rate: number, beta1: number, beta2: number, eps: number, decay: number) =>
    reference(
      () => ({ m: 0, v: 0 }),
      (g, memory, theta, step) => {
        memory.m = beta1 * memory.m + (1 - beta1) * g;
        memory.v = beta2 * memory.v + (1 - beta2) * g * g;
        const direction = memory.m / (1 - beta1 ** step) / (Math.sqrt(memory.v / (1 - beta2 ** step)) + eps);
        return -rate * (direction + decay * theta);
      },
    );

  test("Adam", async () => {
    expectClose(await path(adam({ learningRate: 0.1 })), adamRule(0.1, 0.9, 0.999, 1e-8, 0));
  });

  test("Adam with other decay rates and a large epsilon", async () => {
    const options = { learningRate: 0.1, betas: [0.5, 0.8], eps: 0.1 } as const;
    expectClose(await path(adam(options)), adamRule(0.1, 0.5, 0.8, 0.1, 0));
  });

  test("Adam without first moments", async () => {
    const options = { learningRate: 0.1, betas: [0, 0.9] } as const;
    expectClose(await path(adam(options)), adamRule(0.1, 0, 0.9, 1e-8, 0));
  });

  test("AdamW decays by the rate times the parameters before the step", async () => {
    const options = { learningRate: 0.1, weightDecay: 0.3 };
    expectClose(await path(adamw(options)), adamRule(0.1, 0.9, 0.999, 1e-8, 0.3));
  });

  test("AdamW's mask leaves parameters to Adam alone", async () => {
    const masked = adamw<Tensor>({ learningRate: 0.1, weightDecay: 0.3, mask: (t) => t.rank > 1 });
    expectClose(await path(masked), await path(adam({ learningRate: 0.1 })));
  });

  test("RMSProp", async () => {
    const expected = reference(
      () => ({ v: 0 }),
      (g, memory) => {
        memory.v = 0.9 * memory.v + 0.1 * g * g;
        return (-0.05 * g) / (Math.sqrt(memory.v) + 1e-8);
      },
    );
    expectClose(await path(rmsprop({ learningRate: 0.05 })), expected);
  });

  test("Adagrad", async () => {
    const expected = reference(
      () => ({ v: 0.1 }),
      (g, memory) => {
        memory.v += g * g;
        return (-0.5 * g) / (Math.sqrt(memory.v) + 1e-7);
      },
    );
    expectClose(await path(adagrad({ learningRate: 0.5 })), expected);
  });

  test("Lion", async () => {
    const expected = reference(
      () => ({ m: 0 }),
      (g, memory, theta) => {
        const direction = Math.sign(0.9 * memory.m + 0.1 * g);
        memory.m = 0.99 * memory.m + 0.01 * g;
        return -0.03 * (direction + 0.2 * theta);
      },
    );
    expectClose(await path(lion({ learningRate: 0.03, weightDecay: 0.2 })), expected);
  });
});

describe("Adam's first steps by hand", () => {
  test("the first step is the rate in the direction of the sign, whatever the gradient's size", async () => {
    const optimizer = adam<Tensor>({ learningRate: 0.01, eps: 0 });
    const params = vector([5, 5, 5]);
    const [updates] = optimizer.update(vector([1e-6, -3, 1e6]), optimizer.init(params), params);
    const [a, b, c] = (await toArray(updates)) as [number, number, number];
    expect(a).toBeCloseTo(-0.01, 12);
    expect(b).toBeCloseTo(0.01, 12);
    expect(c).toBeCloseTo(-0.01, 12);
  });

  test("gradients 1 then 3", async () => {
    const optimizer = adam<Tensor>({ learningRate: 1, eps: 0 });
    const params = vector([0]);
    const [, state] = optimizer.update(vector([1]), optimizer.init(params), params);
    const [updates] = optimizer.update(vector([3]), state, params);
    // m̂ = 0.39/0.19 and v̂ = 0.009999/0.001999.
    expect(((await toArray(updates)) as number[])[0]).toBeCloseTo(
      -(0.39 / 0.19) / Math.sqrt(0.009999 / 0.001999),
      10,
    );
  });
});

describe("misuse", () => {
  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])(
    "a learning rate of %d is refused",
    (learningRate) => {
      for (const make of [sgd, momentum, nesterov, adam, adamw, rmsprop, adagrad, lion])
        expect(() => make({ learningRate })).toThrow(RangeError);
    },
  );

  test("gradients of another structure are refused by every optimizer", () => {
    interface Pair {
      readonly w: Tensor;
      readonly b?: Tensor;
    }
    const params: Pair = { w: vector([1, 2]), b: vector([1]) };
    const wrong: Pair = { w: vector([1, 2]) };
    for (const make of [momentum, nesterov, adam, adamw, rmsprop, adagrad, lion]) {
      const optimizer = make<Pair>({ learningRate: 0.1 }) as GradientTransformation<Pair, unknown>;
      expect(() => optimizer.update(wrong, optimizer.init(params), params)).toThrow(/differ|fit/);
    }
  });

  test("gradients of another shape are refused by every optimizer, not broadcast", () => {
    const params = vector([1, 2, 3]);
    for (const make of [sgd, momentum, nesterov, adam, adamw, rmsprop, adagrad, lion]) {
      const optimizer = make<Tensor>({ learningRate: 0.1 }) as GradientTransformation<Tensor, unknown>;
      const step = () => optimizer.update(vector([1]), optimizer.init(params), params);
      expect(step).toThrow(/fit/);
    }
  });
});
