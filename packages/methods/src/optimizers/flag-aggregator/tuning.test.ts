import { expect, test } from "vitest";
import experiment from "./experiment.ts";
import type { Arm } from "./sweep.ts";

async function validationScore(arm: Arm): Promise<number> {
  const training = experiment.run({
    arm,
    seed: 1_000_000,
    phase: "tune",
    settings: { ...experiment.settings.full, steps: 4 },
    hyperparameters: { rate: 0.2 },
    signal: new AbortController().signal,
  });
  for (;;) {
    const turn = await training.next();
    if (turn.done) return turn.value.validationScore;
  }
}

test("rules are tuned as built for Byzantine workers: built for none, they are the mean", async () => {
  const [mean, ...others] = await Promise.all(
    (["mean", "trimmedMean", "multiKrum", "bulyan"] as const).map(validationScore),
  );
  for (const other of others) expect(Math.abs(other - mean!)).toBeGreaterThan(1e-9);
});
