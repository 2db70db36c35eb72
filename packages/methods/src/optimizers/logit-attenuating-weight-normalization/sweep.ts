import { data, grad, max, mean, mul, random, stack, type Tensor } from "@prior-art/tensor";
import { accuracy, crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { type AnyOptimizer, adam, cosineDecay, globalNorm, momentum } from "@prior-art/toolkit/optim";
import { type CellTensors, digitParts, type LabelledPart, trainCells } from "../cells.ts";
import { adamL2, adamw, sgdL2 } from "../decoupled-weight-decay/method.ts";
import { lawn } from "./method.ts";

export type Arm = "adam" | "adamL2" | "adamw" | "adamLawn" | "sgd" | "sgdLawn";

/** Data and batch size of one training; `full` batches hold the whole training set. */
export type Regime = "noisySmall" | "noisyFull" | "cleanSmall" | "cleanFull";

export interface Sizes {
  readonly noisy: number;
  readonly clean: number;
  readonly epochs: number;
}

/** `count` numbers from `first`, each `factor` times the one before. */
const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

interface Cell extends Readonly<Record<string, number>> {
  readonly rate: number;
  /** Decay or penalty; for LAWN, epochs of the free phase. */
  readonly second: number;
}

const grid = (rates: readonly number[], seconds: readonly number[]): Cell[] =>
  rates.flatMap((rate) => seconds.map((second) => ({ rate, second })));

type Batches = "small" | "full";

/** Fifteen cells for each arm and size of batches. */
export const GRIDS: Readonly<Record<Arm, Readonly<Record<Batches, readonly Cell[]>>>> = {
  adam: {
    small: grid(geometric(1e-4, 1.7, 15), [0]),
    full: grid(geometric(1e-4, 1.7, 15), [0]),
  },
  adamL2: {
    small: grid(geometric(2e-4, 4, 5), [1e-4, 2e-3, 4e-2]),
    full: grid(geometric(4e-4, 4, 5), [1e-4, 2e-3, 4e-2]),
  },
  adamw: {
    small: grid(geometric(2e-4, 4, 5), [3e-4, 3e-3, 3e-2]),
    full: grid(geometric(4e-4, 4, 5), [1e-3, 1e-2, 1e-1]),
  },
  adamLawn: {
    small: grid(geometric(2e-4, 4, 5), [0, 4, 20]),
    full: grid(geometric(4e-4, 4, 5), [0, 4, 20]),
  },
  sgd: {
    small: grid(geometric(2e-3, 4, 5), [5e-4, 5e-3, 5e-2]),
    full: grid(geometric(1e-2, 4, 5), [1e-3, 1e-2, 1e-1]),
  },
  sgdLawn: {
    small: grid(geometric(2e-3, 4, 5), [0, 4, 20]),
    full: grid(geometric(1e-2, 4, 5), [0, 4, 20]),
  },
};

const weights = ({ rank }: Tensor): boolean => rank > 1;

interface Plan {
  /** Steps of the whole training and of an epoch. */
  readonly steps: number;
  readonly perEpoch: number;
}

function optimizerOf(
  arm: Arm,
  { rate: learningRate, second }: CellTensors<Cell>,
  { steps, perEpoch }: Plan,
  // biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
): AnyOptimizer<MlpParams, any> {
  const schedule = cosineDecay(1, steps);
  const decayed = { learningRate, weightDecay: second, schedule, mask: weights };
  const constrained = () => {
    const freeSteps = mul(second, perEpoch);
    return { freeSteps, warmupSteps: perEpoch, schedule };
  };
  switch (arm) {
    case "adam":
    case "adamL2":
      return adamL2(decayed);
    case "adamw":
      return adamw(decayed);
    case "sgd":
      return sgdL2(decayed);
    case "adamLawn":
      return lawn(adam({ learningRate }), constrained());
    case "sgdLawn":
      return lawn(momentum({ learningRate }), constrained());
  }
}

export interface CellScores {
  readonly trainLoss: number;
  readonly maxLogit: number;
  readonly gradientNorm: number;
  readonly validationNll: number;
  readonly validationAccuracy: number;
  readonly testNll: number;
  readonly testAccuracy: number;
}

export interface RegimeScores {
  readonly epoch: number;
  readonly cells: readonly CellScores[];
}

const model = mlp({ sizes: [64, 64, 64, 10] });
const BATCH = 32;
const NAMES = [
  "trainLoss",
  "maxLogit",
  "gradientNorm",
  "validationNll",
  "validationAccuracy",
  "testNll",
  "testAccuracy",
] as const;

/** Trains an arm's whole grid in one regime; yields the scores of all cells ten times on the way. */
export async function* trainRegime(
  arm: Arm,
  regime: Regime,
  { noisy, clean, epochs }: Sizes,
  seed: number,
): AsyncGenerator<RegimeScores, void> {
  const isNoisy = regime.startsWith("noisy");
  const full = regime.endsWith("Full");
  const examples = isNoisy ? noisy : clean;
  const { train, validation, test } = await digitParts({
    train: examples,
    validation: 300,
    test: 900,
    noise: isNoisy ? 0.25 : 0,
    seed,
  });
  const batchSize = full ? examples : BATCH;
  const perEpoch = Math.floor(examples / batchSize);
  const loss = (p: MlpParams, batch: LabelledPart): Tensor =>
    crossEntropy(model.apply(p, batch.x), batch.labels);
  const measure = (p: MlpParams): Tensor => {
    const heldOut = ({ x, labels }: LabelledPart): Tensor[] => {
      const logits = model.apply(p, x);
      return [crossEntropy(logits, labels), accuracy(logits, labels)];
    };
    const slope = grad((q: MlpParams) => loss(q, train))(p);
    return stack([
      loss(p, train),
      mean(max(model.apply(p, train.x), -1)),
      globalNorm(slope),
      ...heldOut(validation),
      ...heldOut(test),
    ]);
  };
  const cells = GRIDS[arm][full ? "full" : "small"];
  const training = trainCells({
    loss,
    optimizer: (cell) => optimizerOf(arm, cell, { steps: epochs * perEpoch, perEpoch }),
    cells,
    params: model.init(random.key(seed)),
    data: train,
    examples,
    batchSize,
    epochs,
    epochsPerRun: Math.ceil(epochs / 10),
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
