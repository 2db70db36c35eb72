import {
  DivergedError,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { baselines } from "./baselines.ts";
import { contenders } from "./contenders.generated.ts";
import type { Contender } from "./family.ts";
import { alignmentTask, bestValue, measurePolicy, PRICE, reader } from "./preferenceWorld.ts";

const entries: Readonly<Record<string, Contender>> = { ...baselines, ...contenders };

interface Settings {
  readonly pairs: number;
  readonly steps: number;
  readonly words: number;
}

type Metrics = {
  /** Gold reward less a tenth of the KL to the reference. */
  readonly value: number;
  readonly reward: number;
  /** Nats a word. */
  readonly kl: number;
};

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: RunContext<string, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const task = await alignmentTask({ pairs: settings.pairs, steps: settings.steps, seed });
  yield { step: 0, of: 1 };
  const policy = await entries[arm]!.align(task, hyperparameters as Readonly<Record<string, number>>);
  const { reward, kl } = await measurePolicy(policy, { words: settings.words, seed });
  const value = reward - PRICE * kl;
  if (!Number.isFinite(value)) throw new DivergedError(`the KL is ${kl}`);
  return { value, reward, kl };
}

/**
 * Aligning a small transformer to noisy preferences between words; the gold reward behind them, less the price of moving
 * away from the reference, is what counts.
 */
export default defineExperiment({
  settings: { full: { pairs: 512, steps: 150, words: 2000 }, quick: { pairs: 64, steps: 10, words: 200 } },
  seeds: { full: 6, quick: 1 },
  checkpoints: [reader],
  arms: Object.fromEntries(
    Object.entries(entries).map(([name, { label, space, fixed }]) => [
      name,
      { label, ...(space ? { space } : {}), ...(fixed ? { fixed } : {}) },
    ]),
  ),
  run,
  tuning: { metric: "value", goal: "maximize", budget: { full: 6, quick: 1 }, seeds: { full: 1, quick: 1 } },
  claims: [],
  figure: ({ Plot, units, arms }) => {
    const best = bestValue();
    const points = arms.map(({ name, label }) => {
      const own = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics);
      return { label, kl: mean(own.map((m) => m.kl)), reward: mean(own.map((m) => m.reward)) };
    });
    return {
      title: "Gold reward against KL to the reference; red: the best policy for the price",
      options: {
        x: { label: "KL, nats a word", grid: true },
        y: { label: "Gold reward", grid: true },
        marks: [
          Plot.dot([best], { x: "kl", y: "reward", fill: "red", r: 4 }),
          Plot.dot(points, { x: "kl", y: "reward" }),
          Plot.text(points, { x: "kl", y: "reward", text: "label", dy: -10 }),
        ],
      },
    };
  },
  leaderboard: { metric: "value", goal: "maximize" },
});
