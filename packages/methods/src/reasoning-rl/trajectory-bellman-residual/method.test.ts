import {
  add,
  data,
  grad,
  item,
  logSoftmax,
  random,
  sum,
  type Tensor,
  tensor,
  zeros,
} from "@prior-art/tensor";
import { gibbsPolicy, pick, sequences, tokenPolicy, tokenProcess } from "@prior-art/toolkit/lm";
import { describe, expect, test } from "vitest";
import {
  softValue,
  stepResiduals,
  type Trajectories,
  tbrm,
  tbrmLoss,
  tokenBrmLoss,
  trajectoryResidual,
} from "./method.ts";
import { fitTree } from "./trees.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const close = (values: readonly number[], digits = 10) => values.map((v) => expect.closeTo(v, digits));
const double = (values: number[], shape: number[]): Tensor => tensor(new Float64Array(values), { shape });

/** Five random trajectories of up to four tokens of three, after a prompt of one. */
const drawn = (logits: Tensor): Trajectories => ({
  logits,
  logProbabilities: pick(logSoftmax(logits), random.randint(random.key(2), [5, 5], 0, 3)),
  referenceLogProbabilities: pick(
    logSoftmax(random.normal(random.key(3), [5, 5, 3], { dtype: "float64" })),
    random.randint(random.key(2), [5, 5], 0, 3),
  ),
  mask: double([0, 1, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1], [5, 5]),
  rewards: double([1, 0, 1, 0.5, -1], [5]),
});
const logits = random.normal(random.key(1), [5, 5, 3], { dtype: "float64" });

describe("residuals", () => {
  test("of one step by hand", async () => {
    const one: Trajectories = {
      logits: double([Math.log(0.8), Math.log(0.2)], [1, 1, 2]),
      logProbabilities: double([Math.log(0.8)], [1, 1]),
      referenceLogProbabilities: double([Math.log(0.5)], [1, 1]),
      mask: double([1], [1, 1]),
      rewards: double([1], [1]),
    };
    expect(await item(sum(trajectoryResidual(one, 1)))).toBeCloseTo(-0.529996, 6);
    expect(await item(tbrmLoss(one, 1))).toBeCloseTo(0.280896, 6);
  });

  test("of all steps add up to the trajectory's", async () => {
    const steps = sum(stepResiduals(drawn(logits), 0.7), -1);
    expect(await numbers(steps)).toEqual(close(await numbers(trajectoryResidual(drawn(logits), 0.7)), 12));
    const outside = (await numbers(stepResiduals(drawn(logits), 0.7))).filter((_, i) => i % 5 === 0);
    expect(outside.every((r) => r === 0)).toBe(true);
  });

  test("a constant on the first token's logits moves the residual by β times it, others' none", async () => {
    const [before] = [await numbers(trajectoryResidual(drawn(logits), 0.7))];
    const shift = (position: number): Tensor =>
      add(
        logits,
        double(
          Array.from({ length: 25 }, (_, i) => (i % 5 === position ? 3 : 0)),
          [5, 5, 1],
        ),
      );
    const after = async (position: number) => numbers(trajectoryResidual(drawn(shift(position)), 0.7));
    expect(await after(1)).toEqual(close(before!.map((r) => r + 2.1)));
    expect(await after(2)).toEqual(close(before!));
  });

  test("at the reference with value 0 the residual is −R", async () => {
    const own = logSoftmax(logits);
    const at = drawn(own);
    const still = { ...at, referenceLogProbabilities: at.logProbabilities };
    expect(await numbers(trajectoryResidual(still, 0.7))).toEqual(close([-1, 0, -1, -0.5, 1]));
    expect(await numbers(softValue(own, 0.7))).toEqual(close(new Array<number>(25).fill(0)));
  });

  test("the loss has the gradient of its finite differences, and as an objective for completions it is the same", async () => {
    for (const loss of [tbrmLoss, tokenBrmLoss]) {
      const f = (x: Tensor): Tensor => loss(drawn(x), 0.7);
      const gradient = await numbers(grad(f)(logits));
      for (const i of [18, 22, 40, 70]) {
        const nudge = (h: number) =>
          add(
            logits,
            double(
              Array.from({ length: 75 }, (_, k) => (k === i ? h : 0)),
              [5, 5, 3],
            ),
          );
        const slope = ((await item(f(nudge(1e-5)))) - (await item(f(nudge(-1e-5))))) / 2e-5;
        expect(gradient[i]).toBeCloseTo(slope, 6);
      }
    }
    const batch = { ...drawn(logits), oldLogProbabilities: zeros([5, 5]), oldLogits: logits, group: 1 };
    expect(await item(tbrm({ beta: 0.7 })(batch))).toBeCloseTo(await item(tbrmLoss(drawn(logits), 0.7)), 12);
  });
});

test("the optimal policy with the optimal value has no residual on any trajectory, token by token neither", async () => {
  const process = tokenProcess<string>({
    vocabulary: 2,
    start: "",
    key: (s) => s,
    step: (s, token) =>
      s.length < 2 ? { next: s + token, reward: 0 } : { next: null, reward: s === "11" ? 1 : token / 2 },
  });
  const reference = tokenPolicy(process, (s) => (s.length % 2 ? [0.3, 0.7] : [0.6, 0.4]));
  const beta = 0.4;
  const { policy, values } = gibbsPolicy(process, reference, beta);
  const all = [...sequences(process, reference)];
  const rows = all.map(({ tokens }) => {
    let state = 0;
    return tokens.map((token) => {
      const here = state;
      state = process.next[here * 2 + token]!;
      return { here, token };
    });
  });
  const flat = rows.flat();
  const at: Trajectories = {
    logits: double(
      flat.flatMap(({ here }) => [0, 1].map((v) => Math.log(policy[here * 2 + v]!) + values[here]! / beta)),
      [8, 3, 2],
    ),
    logProbabilities: double(
      flat.map(({ here, token }) => Math.log(policy[here * 2 + token]!)),
      [8, 3],
    ),
    referenceLogProbabilities: double(
      flat.map(({ here, token }) => Math.log(reference[here * 2 + token]!)),
      [8, 3],
    ),
    mask: double(new Array<number>(24).fill(1), [8, 3]),
    rewards: double(
      all.map(({ reward }) => reward),
      [8],
    ),
  };
  expect(await numbers(trajectoryResidual(at, beta))).toEqual(close(new Array<number>(8).fill(0)));
  expect(await numbers(stepResiduals(at, beta))).toEqual(close(new Array<number>(24).fill(0)));
});

test("on a tree the loss finds the optimum from data that are not its own", async () => {
  const fit = await fitTree({
    loss: "tbrm",
    law: "uniform",
    steps: 1000,
    learningRate: 0.05,
    seed: 1_000_000,
  });
  expect(Math.max(...fit.kl)).toBeLessThan(1e-3);
  expect(Math.max(...fit.valueError)).toBeLessThan(1e-2);
});
