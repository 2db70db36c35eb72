import { readFileSync } from "node:fs";
import { data, grad, jit, mul, slice, type Tensor, treeLeaves, treeMap } from "@prior-art/tensor";
import { applyUpdates, type GradientTransformation, mapPaths } from "@prior-art/toolkit/optim";
import { expect, test } from "vitest";
import type { ProblemName } from "./family.ts";
import { problems } from "./problems.ts";
import { adamRates, finer, sgdRates } from "./rates.ts";
import task, { race } from "./task.ts";

const names = Object.keys(problems) as ProblemName[];
const armsOn = (problem: ProblemName) =>
  Object.entries(race).filter(([, entry]) => entry.problem === problem);

interface Saved {
  readonly arms: readonly {
    readonly name: string;
    readonly label: string;
    readonly hyperparameters: Numbers;
  }[];
  readonly tuning: readonly {
    readonly arm: string;
    readonly hyperparameters: Numbers;
    readonly chosen: boolean;
  }[];
}
type Numbers = Readonly<Record<string, number>>;
const saved: Saved = JSON.parse(readFileSync(new URL("leaderboard.json", import.meta.url), "utf8"));

/** The scale of an optimizer's steps, the first of its hyperparameters. */
const RATES = ["learningRate", "radius", "multiplier"];

test("every arm is tuned over twelve candidates, all that its grid has", () => {
  expect(task.tuning?.budget.full).toBe(12);
  for (const [arm, { contender }] of Object.entries(race)) {
    const axes = Object.values(contender.space ?? {});
    expect(
      axes.reduce((size, axis) => size * axis.length, 1),
      arm,
    ).toBe(12);
  }
});

test("learning rates of one scale come from one list", () => {
  const lists = [adamRates, sgdRates, finer(sgdRates)].map(String);
  // Multiples of a line search's first step, and shares of a Newton step.
  const own = /smb|sls|exactGaussNewton/;
  for (const [arm, { contender }] of Object.entries(race)) {
    const rates = contender.space?.learningRate;
    if (rates && !own.test(arm)) expect(lists, arm).toContain(String(rates));
  }
});

test("methods of hidden matrices enter where they have some, and leave embeddings and outputs alone", async () => {
  const chosen: Record<string, string[]> = {};
  for (const problem of names) {
    const { params } = await problems[problem].prepare(0);
    for (const [arm, { contender }] of armsOn(problem)) {
      if (!contender.select) continue;
      mapPaths(params, (path, tensor) => {
        if (contender.select!(tensor)) (chosen[arm] ??= []).push(path);
        return tensor;
      });
      expect(chosen[arm], arm).toBeDefined();
    }
  }
  const methods = ["fira", "onlineSubspaceDescent", "galore", "reg", "muon"];
  expect(Object.keys(chosen).sort()).toEqual(
    ["mnistMlp", "transformer"].flatMap((problem) => methods.map((name) => `${problem}-${name}`)).sort(),
  );
  for (const name of methods) {
    expect(chosen[`mnistMlp-${name}`]).toEqual(["layers[0].weight", "layers[1].weight"]);
    const inside = chosen[`transformer-${name}`]!;
    expect(inside.every((path) => /^blocks\[0\]\.(attention|expand|contract)\./.test(path))).toBe(true);
    expect(inside.length).toBeGreaterThanOrEqual(4);
  }
});

/** The change that three steps make, of length 1, all tensors in a row; rounding leaves less than 1e-6 of it. */
async function direction(
  optimizer: GradientTransformation<unknown, unknown>,
  params: unknown,
  gradients: readonly unknown[],
): Promise<number[]> {
  const step = jit((p: unknown, s: unknown, g: unknown) => {
    const [updates, next] = optimizer.update(g, s, p);
    return [applyUpdates(p, updates), next] as const;
  });
  let [end, state] = [params, optimizer.init(params)];
  for (const gradient of gradients) [end, state] = await step(end, state, gradient);
  await step.release();
  const [before, after] = await Promise.all(
    [params, end].map(async (tree) =>
      (await Promise.all(treeLeaves(tree).map(async (t: Tensor) => [...(await data(t))]))).flat(),
    ),
  );
  const change = after!.map((x, i) => x - before![i]!);
  const length = Math.hypot(...change);
  return change.map((x) => x / length);
}

test.each(names)(
  "no two optimizers of gradients take the same way on %s",
  async (name) => {
    const { params, train, loss, batchSize } = { ...problems[name], ...(await problems[name].prepare(0)) };
    const slope = jit((p: unknown, batch: unknown) => grad((q: unknown) => loss(q, batch))(p));
    const gradients: unknown[] = [];
    // Away from the start, where the regression's weights are all 0.
    let at: unknown = params;
    for (const i of [0, 1, 2, 3]) {
      const batch = treeMap((t: Tensor) => slice(t, [i * batchSize, (i + 1) * batchSize]), train);
      const gradient = await slope(at, batch);
      if (i > 0) gradients.push(gradient);
      else at = treeMap((p: Tensor, g: Tensor) => applyUpdates(p, mul(-0.1, g)), params, gradient);
    }
    await slope.release();
    const ways: (readonly [string, readonly number[]])[] = [];
    for (const [arm, { contender }] of armsOn(name)) {
      const most = Object.entries(contender.space ?? {}).map(([key, values]) => [
        key,
        RATES.includes(key) ? 0.01 : values.at(-1)!,
      ]);
      const optimizer = await contender.optimizer(
        { ...contender.fixed, ...Object.fromEntries(most) },
        { steps: 12 },
      );
      // Line searches, curvature and queries see more than gradients.
      if ("step" in optimizer) continue;
      ways.push([arm, await direction(optimizer as GradientTransformation<unknown, unknown>, at, gradients)]);
    }
    expect(ways.length).toBeGreaterThan(8);
    for (const [i, [a, x]] of ways.entries())
      for (const [b, y] of ways.slice(i + 1))
        expect(Math.hypot(...x.map((v, k) => v - y[k]!)), `${a} and ${b}`).toBeGreaterThan(1e-5);
  },
  120_000,
);

test("the kept leaderboard is of these arms, each tuned over all of its grid", () => {
  expect(saved.arms.map(({ name, label }) => [name, label])).toEqual(
    Object.entries(race).map(([name, { contender }]) => [name, contender.label]),
  );
  for (const arm of Object.keys(race))
    expect(
      saved.tuning.filter((candidate) => candidate.arm === arm),
      arm,
    ).toHaveLength(12);
});

/** A Newton step is whole at 1; nothing is beyond. A line search backs off from first trials that are too long. */
const NATURAL_ENDS: Readonly<Record<string, number>> = {
  "regression-exactGaussNewton": 1,
  "mnistMlp-sls": 2,
};

test("in the kept leaderboard, no rate that was chosen is the smallest or the largest that was tried", () => {
  for (const { name, hyperparameters } of saved.arms)
    for (const rate of RATES.filter((key) => key in hyperparameters)) {
      const tried = saved.tuning
        .filter(({ arm }) => arm === name)
        .map((candidate) => candidate.hyperparameters[rate]!);
      const value = hyperparameters[rate]!;
      if (NATURAL_ENDS[name] === value) continue;
      expect(value, `${name}: ${rate}`).toBeGreaterThan(Math.min(...tried));
      expect(value, `${name}: ${rate}`).toBeLessThan(Math.max(...tried));
    }
});
