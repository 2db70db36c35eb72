import { add, div, evaluate, minimum, mul, random, type Tensor, transpose, vmap } from "@prior-art/tensor";
import type { WindowModelParams } from "@prior-art/toolkit/lm";
import { adam, type GradientTransformation } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import { column, lossesOn, type MarkovText, trainSideBySide } from "../markovText.ts";
import { operatorNorm, scion } from "./method.ts";

/** Steps over which the rate rises. */
const WARM_UP = 10;

/** One trained model. */
export interface SweepPoint {
  /** Examples seen, D. */
  readonly tokens: number;
  /** B, in examples. */
  readonly batch: number;
  readonly logRate: number;
  /** Held-out excess over the entropy rate. */
  readonly loss: number;
  /** Of the output layer, RMS → ∞. */
  readonly logNorm: number;
}

/** Rate and radii of a run. */
export interface SweepRun {
  readonly rate: Tensor;
  readonly input: Tensor;
  readonly hidden: Tensor;
  readonly output: Tensor;
}

export const scionOf = ({ rate, input, hidden, output }: SweepRun) =>
  scion<WindowModelParams>({
    groups: [
      { norm: "oneToRms", radius: input, of: (p) => p.embedding },
      { norm: "rmsToRms", radius: hidden, of: (p) => p.blocks },
      { norm: "rmsToInf", radius: output, of: (p) => p.output },
    ],
    learningRate: (step) => mul(rate, minimum(div(add(step, 1), WARM_UP), 1)),
  });

export const adamOf = ({ rate }: SweepRun) =>
  adam<WindowModelParams>({
    learningRate: (step) => mul(rate, minimum(div(add(step, 1), WARM_UP), 1)),
    betas: [0.9, 0.95],
  });

/** Weights whose layers have norm 1, each in its own. */
export async function normalizedInit(text: MarkovText, seed: number): Promise<WindowModelParams> {
  const { embedding, blocks, output } = text.model.init(random.key(seed));
  const scaled = (w: Tensor, kind: Parameters<typeof operatorNorm>[1]): Tensor =>
    div(w, operatorNorm(transpose(w), kind));
  return evaluate({
    embedding: scaled(embedding, "oneToRms"),
    blocks: blocks.map(({ expand, contract }) => ({
      expand: scaled(expand, "rmsToRms"),
      contract: scaled(contract, "rmsToRms"),
    })),
    output: scaled(output, "rmsToInf"),
  });
}

export interface SweepOptions<S> {
  readonly text: MarkovText;
  readonly optimizer: (run: SweepRun) => GradientTransformation<WindowModelParams, S>;
  readonly batch: number;
  /** log₂ of the rates, run side by side; or one rate and multipliers of the groups' radii. */
  readonly logRates: readonly number[];
  readonly radii?: readonly { readonly input: number; readonly hidden: number; readonly output: number }[];
  /** Increasing, the first dividing the others: at a constant rate a long run passes through the short ones. */
  readonly horizons: readonly number[];
  readonly heldOut: number;
  readonly seed: number;
}

/** Models at every rate and horizon; those that diverged have a loss of NaN. */
export async function sweep<S>({
  text,
  optimizer,
  batch,
  logRates,
  radii = logRates.map(() => ({ input: 1, hidden: 1, output: 1 })),
  horizons,
  heldOut,
  seed,
}: SweepOptions<S>): Promise<SweepPoint[]> {
  const held = text.sample(heldOut, randomStream(seed, "held-out text"));
  const points: SweepPoint[] = [];
  for await (const { step, params } of trainSideBySide({
    text,
    hyperparameters: {
      rate: column(logRates.map((log) => 2 ** log)),
      input: column(radii.map(({ input }) => input)),
      hidden: column(radii.map(({ hidden }) => hidden)),
      output: column(radii.map(({ output }) => output)),
    },
    optimizer,
    init: await normalizedInit(text, seed),
    batch,
    chunk: horizons[0]! / batch,
    chunks: horizons.at(-1)! / horizons[0]!,
    seed,
  })) {
    const tokens = step * batch;
    if (!horizons.includes(tokens)) continue;
    const losses = await lossesOn(text, params, held);
    const norms = await vmap((p: WindowModelParams) => operatorNorm(transpose(p.output), "rmsToInf"))(
      params,
    ).data();
    losses.forEach((loss, run) => {
      points.push({
        tokens,
        batch,
        logRate: logRates[run]!,
        loss: loss - text.entropyRate,
        logNorm: Math.log2(Number(norms[run])),
      });
    });
  }
  return points;
}
