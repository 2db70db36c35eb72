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
import { excessLosses, model, pretrained, texts } from "./shiftedTexts.ts";

const entries: Readonly<Record<string, Contender>> = { ...baselines, ...contenders };

interface Settings {
  readonly steps: number;
  readonly heldOut: number;
}

type Metrics = {
  /** Gain minus forgetting. */
  readonly net: number;
  /** Fall of the loss on the new domain, nats a letter. */
  readonly gain: number;
  /** Rise of the loss on the old domain, nats a letter. */
  readonly forgetting: number;
};

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<string, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const base = await pretrained.load();
  yield { step: 0, of: 1 };
  const weights = await entries[arm]!.fineTune(
    { model, base, texts: texts("new", 256, seed, "training"), steps: settings.steps, batchSize: 32, seed },
    hyperparameters as Readonly<Record<string, number>>,
  );
  const held = { count: settings.heldOut, seed, stream: phase === "tune" ? "validation" : "test" };
  const before = await excessLosses(base, held);
  const after = await excessLosses(weights, held);
  const gain = before.new - after.new;
  const forgetting = after.old - before.old;
  if (!Number.isFinite(gain - forgetting)) throw new DivergedError(`the loss is ${after.new}`);
  return { net: gain - forgetting, gain, forgetting };
}

/** Fine-tuning a small pretrained transformer on a new domain with 256 texts of it and none of the old one. */
export default defineExperiment({
  settings: { full: { steps: 150, heldOut: 600 }, quick: { steps: 10, heldOut: 100 } },
  seeds: { full: 6, quick: 1 },
  checkpoints: [pretrained],
  arms: Object.fromEntries(
    Object.entries(entries).map(([name, { label, space, fixed }]) => [
      name,
      { label, ...(space ? { space } : {}), ...(fixed ? { fixed } : {}) },
    ]),
  ),
  run,
  tuning: { metric: "net", goal: "maximize", budget: { full: 6, quick: 1 }, seeds: { full: 1, quick: 1 } },
  claims: [],
  figure: ({ Plot, units, arms }) => {
    const points = arms.map(({ name, label }) => {
      const own = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics);
      return { label, gain: mean(own.map((m) => m.gain)), forgetting: mean(own.map((m) => m.forgetting)) };
    });
    return {
      title: "Gain on the new domain against forgetting of the old one",
      options: {
        x: { label: "Forgetting, nats a letter", grid: true },
        y: { label: "Gain, nats a letter", grid: true },
        marks: [
          Plot.dot(points, { x: "forgetting", y: "gain" }),
          Plot.text(points, { x: "forgetting", y: "gain", text: "label", dy: -10 }),
        ],
      },
    };
  },
  leaderboard: { metric: "net", goal: "maximize" },
});
