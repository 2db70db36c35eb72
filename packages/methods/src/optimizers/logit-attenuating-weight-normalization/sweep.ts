import {
  add,
  data,
  div,
  grad,
  max,
  mean,
  minimum,
  mul,
  random,
  round,
  stack,
  type Tensor,
} from "@prior-art/tensor";
import { accuracy, crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  type AnyOptimizer,
  adam,
  addDecayedWeights,
  chain,
  cosineDecay,
  globalNorm,
  momentum,
  type Schedule,
} from "@prior-art/toolkit/optim";
import { type CellTensors, digitParts, type LabelledPart, trainCells } from "../cells.ts";
import { adamL2, adamw } from "../decoupled-weight-decay/method.ts";
import { type Cell, GRIDS } from "./grids.ts";
import { lawn } from "./method.ts";

export type Arm = "adam" | "adamL2" | "adamw" | "adamLawn" | "sgd" | "sgdLawn";

/** Data and batch size of one training; `full` batches hold the whole training set. */
export type Regime = "noisySmall" | "noisyFull" | "cleanSmall" | "cleanFull";

export interface Sizes {
  readonly noisy: number;
  readonly clean: number;
  readonly epochs: number;
}

/** E_warmup's share of the training: at the start, of every arm alike, and for LAWN from the switch again. */
const WARMUP = 0.05;

const weights = ({ rank }: Tensor): boolean => rank > 1;

/** An arm with the values of a cell, for a training of so many steps. */
export function optimizerOf(
  arm: Arm,
  { rate: learningRate, second }: CellTensors<Cell>,
  steps: number,
  // biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
): AnyOptimizer<MlpParams, any> {
  const warmupSteps = Math.ceil(WARMUP * steps);
  const annealed = cosineDecay(1, steps);
  const warmed: Schedule = (step) => mul(annealed(step), minimum(div(add(step, 1), warmupSteps), 1));
  const decayed = { learningRate, weightDecay: second, schedule: warmed, mask: weights };
  const phases = () => ({ freeSteps: round(mul(second, steps)), warmupSteps, schedule: annealed });
  switch (arm) {
    case "adam":
    case "adamL2":
      return adamL2(decayed);
    case "adamw":
      return adamw({ ...decayed, decayMode: "lr" });
    case "sgd":
      // With the rate outside of the momentum, as LAWN's is.
      return chain(
        addDecayedWeights<MlpParams>(second, weights),
        momentum<MlpParams>({ learningRate: (step) => mul(learningRate, warmed(step)) }),
      );
    case "adamLawn":
      return lawn(adam({ learningRate }), phases());
    case "sgdLawn":
      return lawn(momentum({ learningRate }), phases());
  }
}

export interface CellScores {
  readonly trainLoss: number;
  readonly maxLogit: number;
  readonly gradientNorm: number;
  /** Of digits that were not trained on. */
  readonly nll: number;
  readonly accuracy: number;
}

export interface RegimeScores {
  readonly epoch: number;
  readonly cells: readonly CellScores[];
}

const model = mlp({ sizes: [64, 64, 64, 10] });
const BATCH = 32;
const HELD_OUT = 1200;
const NAMES = ["trainLoss", "maxLogit", "gradientNorm", "nll", "accuracy"] as const;

/** Trains cells in one regime; yields their scores so many times on the way. */
export async function* trainRegime(
  arm: Arm,
  regime: Regime,
  { noisy, clean, epochs }: Sizes,
  seed: number,
  cells: readonly Cell[] = GRIDS[arm][regime],
  reports = 10,
): AsyncGenerator<RegimeScores, void> {
  const isNoisy = regime.startsWith("noisy");
  const examples = isNoisy ? noisy : clean;
  const { train, test } = await digitParts({
    train: examples,
    validation: 0,
    test: HELD_OUT,
    noise: isNoisy ? 0.25 : 0,
    seed,
  });
  const batchSize = regime.endsWith("Full") ? examples : BATCH;
  const steps = epochs * Math.floor(examples / batchSize);
  const loss = (p: MlpParams, batch: LabelledPart): Tensor =>
    crossEntropy(model.apply(p, batch.x), batch.labels);
  const measure = (p: MlpParams): Tensor => {
    const slope = grad((q: MlpParams) => loss(q, train))(p);
    const logits = model.apply(p, test.x);
    return stack([
      loss(p, train),
      mean(max(model.apply(p, train.x), -1)),
      globalNorm(slope),
      crossEntropy(logits, test.labels),
      accuracy(logits, test.labels),
    ]);
  };
  const training = trainCells({
    loss,
    optimizer: (cell) => optimizerOf(arm, cell, steps),
    cells,
    params: model.init(random.key(seed)),
    data: train,
    examples,
    batchSize,
    epochs,
    epochsPerRun: Math.ceil(epochs / reports),
    key: random.fold(random.key(seed), 1),
    measure,
  });
  for await (const { epoch, measured } of training) {
    const values = await data(measured!);
    yield {
      epoch,
      cells: cells.map(
        (_, i) =>
          Object.fromEntries(
            NAMES.map((name, j) => [name, values[i * NAMES.length + j]!]),
          ) as unknown as CellScores,
      ),
    };
  }
}
