import {
  add,
  evaluate,
  grad,
  item,
  mul,
  random,
  slice,
  sub,
  type Tensor,
  treeLeaves,
  treeMap,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { gaussian, norm } from "../testing/doubles.ts";
import { type Curved, curvedNetwork, curvedRegression, gradientsLeft } from "./extrapolation.ts";
import { dualNorm, orthogonalize } from "./method.ts";
import { secondHalf } from "./problems.ts";

describe.each([
  ["logistic regression", curvedRegression as (seed: number) => Promise<Curved<unknown>>],
  ["the tanh network", curvedNetwork as (seed: number) => Promise<Curved<unknown>>],
])("%s", (_, problemOf) => {
  test("has a Hessian that varies", async () => {
    const { start, loss } = await problemOf(3);
    const slope = grad((p: unknown) => loss(p));
    const at = (t: number): unknown =>
      slope(treeMap((x) => add(x, mul(t, gaussian(7, x.shape))), start) as unknown);
    const [before, here, after] = [at(-0.5), at(0), at(0.5)];
    const bend = treeMap(
      (a, b, c) => sub(add(a as Tensor, c as Tensor), mul(2, b as Tensor)),
      before,
      here,
      after,
    );
    expect(await norm(bend)).toBeGreaterThan(0.02 * (await norm(treeMap(sub, after, before))));
  });

  test.each([
    ["slow", false],
    ["fast", true],
  ] as const)(
    "what is left is measured at the iterates of the second half: %s powers, extrapolated %s",
    async (powers, extrapolate) => {
      const seed = 3;
      const { examples, start, loss } = await problemOf(seed);
      const options = { seed, counts: [4, 8], radiusScale: 2, momentumScale: 1.2, powers, extrapolate };
      const measured = await gradientsLeft(await problemOf(seed), options);
      const batches = random.randint(random.fold(random.key(seed), 9), [8, 4], 0, examples);
      const exact = grad((p: unknown) => loss(p));
      const noisy = (p: unknown, t: number): unknown => grad((q: unknown) => loss(q, slice(batches, t)))(p);
      for (const [i, steps] of options.counts.entries()) {
        // η = 2K^(-3/4) and α = 1.2K^(-1/2), or 2K^(-5/7) and 1.2K^(-4/7).
        const radius = 2 * steps ** (powers === "fast" ? -5 / 7 : -3 / 4);
        const alpha = 1.2 * steps ** (powers === "fast" ? -4 / 7 : -1 / 2);
        let [x, before, m] = [start, start, null as unknown];
        let total = 0;
        for (let t = 0; t < steps; t++) {
          if (t >= steps / 2)
            for (const g of treeLeaves(exact(x))) total += await item(dualNorm("spectral")(g));
          const ahead = extrapolate ? (1 - alpha) / alpha : 0;
          const g = noisy(
            treeMap((a, b) => add(a, mul(ahead, sub(a, b as Tensor))), x, before),
            t,
          );
          m = m === null ? g : treeMap((a, b) => add(mul(1 - alpha, a), mul(alpha, b as Tensor)), m, g);
          before = x;
          x = treeMap((a, b) => sub(a, mul(radius, orthogonalize(b as Tensor))), x, m);
          await evaluate({ x, m });
        }
        expect(measured[i]! / (total / (steps / 2))).toBeCloseTo(1, 3);
      }
    },
  );
});

test("the network saturates: outputs stay bounded as its first layer grows", async () => {
  const { start, loss } = await curvedNetwork(3);
  const lossAt = (scale: number): Promise<number> =>
    item(loss({ first: mul(scale, start.first), second: start.second }));
  expect((await lossAt(1e6)) / (await lossAt(1e3))).toBeCloseTo(1, 2);
});

test("on least squares, extrapolation changes nothing without momentum, and something with it", async () => {
  const left = (momentum: number, extrapolate: boolean): Promise<number> =>
    secondHalf({ seed: 1, radius: 0.1, momentum, steps: 200, extrapolate });
  expect(await left(1, true)).toBeCloseTo(await left(1, false), 9);
  expect(await left(0.1, true)).toBeLessThan(0.9 * (await left(0.1, false)));
});
