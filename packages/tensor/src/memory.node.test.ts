import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import {
  add,
  data,
  grad,
  jit,
  matmul,
  mul,
  random,
  scalar,
  sub,
  sum,
  type Tensor,
  tanh,
  zeros,
} from "./index.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const x = random.normal(random.key(0), [8, 16]);
const loss = (w: Tensor): Tensor => sum(mul(tanh(matmul(x, w)), 0.1));

/** Resident megabytes after a number of steps, with garbage collected. */
async function residentAfter(steps: number, step: () => Promise<void>): Promise<number> {
  for (let i = 0; i < steps; i++) await step();
  collect();
  return process.memoryUsage().rss / 2 ** 20;
}

async function expectFlat(step: () => Promise<void>): Promise<void> {
  const before = await residentAfter(2_000, step);
  const after = await residentAfter(10_000, step);
  // One leaked 16-vector and its node a step would already be more.
  expect(after - before).toBeLessThan(8);
}

test("memory stays flat over 10,000 jitted steps", async () => {
  let w = zeros([16]);
  const train = jit((v: Tensor) => sub(v, mul(0.01, grad(loss)(v))));
  await expectFlat(async () => {
    w = await train(w);
  });
  expect((await data(w)).every(Number.isFinite)).toBe(true);
});

test("memory stays flat over 10,000 evaluations without jit, each building on the one before", async () => {
  let w = zeros([16]);
  let step = 0;
  await expectFlat(async () => {
    // The changing number must not compile anew each time.
    w = add(mul(w, 0.5), scalar(step++));
    await data(w);
  });
  expect((await data(w))[0]).toBeCloseTo(2 * (step - 2), 0);
});
