import { mean, random, square } from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { close, gaussian, numbers } from "../testing/doubles.ts";
import { residualNet } from "./residualNet.ts";
import { PARTS, type Plan, type Rule, roughness, trainRates } from "./sweep.ts";

describe("roughness", () => {
  const curve = (f: (epoch: number) => number) => Array.from({ length: 50 }, (_, i) => Math.exp(f(i)));

  test("is 0 for a steady fall, and does not depend on the loss's level", () => {
    expect(roughness(curve((i) => 3 - 0.2 * i))).toBeCloseTo(0, 12);
    const uneven = curve((i) => Math.sin(i * i));
    expect(roughness(uneven.map((loss) => 100 * loss))).toBeCloseTo(roughness(uneven), 12);
  });

  test("is σ for deviations of σ about a line, and 4σ/√6 where they take turns", async () => {
    const noise = await numbers(gaussian(4, [4000]));
    expect(roughness(noise.map((value, i) => Math.exp(0.1 * value - 1e-3 * i)))).toBeCloseTo(0.1, 2);
    expect(roughness(curve((i) => 0.3 * (-1) ** i))).toBeCloseTo(1.2 / Math.sqrt(6), 12);
  });

  test("sees the epochs from 22% to 72% only", () => {
    const outside = curve((i) => (i < 11 || i >= 36 ? (-1) ** i : 0));
    expect(roughness(outside)).toBe(0);
    for (const at of [11, 35]) expect(roughness(curve((i) => (i === at ? 1 : 0)))).toBeGreaterThan(0.05);
  });
});

describe("training at all rates from several initializations", () => {
  const plan: Plan = { train: 128, epochs: 11, depth: 2, rates: [1e-3, 0.03] };
  const train = async (
    rule: Rule,
    starts: readonly number[],
    { rates = plan.rates, epochs = plan.epochs } = {},
  ) => {
    const training = trainRates(rule, "narrow", { ...plan, rates, epochs }, 5, starts);
    let turn = await training.next();
    const reports: number[] = [];
    for (; !turn.done; turn = await training.next()) reports.push(turn.value.epoch);
    expect(reports).toEqual(epochs > 10 ? [10, epochs] : [epochs]);
    return turn.value;
  };

  test("gives each the numbers of a training on its own", async () => {
    const all = await train("ranger", [7, 8]);
    expect(all.map((curves) => curves.length)).toEqual([2, 2]);
    const [[alone]] = (await train("ranger", [8], { rates: [0.03] })) as [[(typeof all)[0][0]]];
    const found = all[1]![1]!;
    expect(found.trainLoss).toEqual(close(alone.trainLoss, 4));
    expect(found.validationLoss).toEqual(close(alone.validationLoss, 4));
    expect(found.testLoss).toBeCloseTo(alone.testLoss, 4);
    expect(found.testAccuracy).toBeCloseTo(alone.testAccuracy, 2);
    expect(found.validationLoss).toHaveLength(11);
    // The faster rate learns, and another initialization is another training.
    expect(found.validationLoss[10]).toBeLessThan(0.8 * all[1]![0]!.validationLoss[10]!);
    expect(Math.abs(found.testLoss - all[0]![1]!.testLoss)).toBeGreaterThan(1e-3);
  });

  test("a part alone, all but one, and all are different rules", async () => {
    expect(PARTS).toHaveLength(8);
    const rules: readonly Rule[] = ["ranger", "adamw", { only: "gc" }, { only: "agc" }, { without: "gc" }];
    const losses: number[] = [];
    for (const rule of rules)
      losses.push((await train(rule, [7], { rates: [0.03], epochs: 6 }))[0]![0]!.testLoss);
    expect(new Set(losses.map((loss) => loss.toFixed(3))).size).toBe(rules.length);
  });
});

test("each block without normalization at least doubles the second moment", async () => {
  const moment = async (depth: number) => {
    const net = residualNet({ inputs: 32, width: 64, depth, classes: 64 });
    const logits = net.apply(net.init(random.key(2)), random.normal(random.key(3), [64, 32]));
    return (await numbers(mean(square(logits))))[0]!;
  };
  const [shallow, deep] = [await moment(2), await moment(12)];
  expect(deep / shallow).toBeGreaterThan(2 ** 10);
});
