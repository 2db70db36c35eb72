import {
  add,
  cast,
  data,
  isFinite,
  less,
  logicalAnd,
  logicalNot,
  logicalOr,
  random,
  scalar,
  stack,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import { accuracy, crossEntropy, type MlpParams, meanSquaredError, mlp } from "@prior-art/toolkit/nn";
import {
  type AnyOptimizer,
  adam,
  applyUpdates,
  asClosure,
  type ClosureOptimizer,
  sgd,
} from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import { digitParts, trainCells } from "../cells.ts";
import { type SmbState, shortenedTrials, smb, stochasticLineSearch } from "./method.ts";

export type Arm = "smb" | "smbi" | "shortened" | "sls" | "sgd" | "adam";

/** The trial step's first length, or the learning rate: closest together where SGD is best on one of the problems. */
export const RATES = [
  1e-3, 0.01, 0.03, 0.06, 0.1, 0.14, 0.2, 0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 3, 5, 15,
] as const;
export const ADAM_RATES = [
  1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 4e-3, 6e-3, 8e-3, 0.012, 0.016, 0.022, 0.03, 0.042, 0.06, 0.1, 0.15, 0.2,
] as const;
export const ratesOf = (arm: Arm): readonly number[] => (arm === "adam" ? ADAM_RATES : RATES);

/** Two digit classifiers and a regression (Friedman's first function). */
export type Problem = "digits" | "deepDigits" | "friedman";

interface Part {
  readonly x: Tensor;
  /** int32 labels, or float targets `[examples, 1]`. */
  readonly y: Tensor;
}

interface Task {
  readonly train: Part;
  readonly validation: Part;
  readonly test: Part;
  readonly examples: number;
  readonly model: ReturnType<typeof mlp>;
  readonly loss: (params: MlpParams, part: Part) => Tensor;
  readonly accuracy: (params: MlpParams, part: Part) => Tensor;
}

/** 10 sin(πx₁x₂) + 20(x₃ - ½)² + 10x₄ + 5x₅ + noise of ten uniform inputs (Friedman, 1991), at mean 0 and deviation 1. */
function friedman(seed: number, count: number): Part {
  const stream = randomStream(seed, "friedman");
  const rows = Array.from({ length: count }, () => Array.from({ length: 10 }, () => stream.uniform()));
  const raw = rows.map(
    (r) =>
      10 * Math.sin(Math.PI * r[0]! * r[1]!) +
      20 * (r[2]! - 0.5) ** 2 +
      10 * r[3]! +
      5 * r[4]! +
      stream.normal(),
  );
  // The function's mean and deviation under the uniform distribution, the same for all parts.
  const y = raw.map((v) => (v - 14.4) / 5);
  return {
    x: tensor(
      Float32Array.from(rows.flat(), (v) => 2 * v - 1),
      { shape: [count, 10] },
    ),
    y: tensor(Float32Array.from(y), { shape: [count, 1] }),
  };
}

async function taskOf(problem: Problem, seed: number): Promise<Task> {
  if (problem === "friedman") {
    const model = mlp({ sizes: [10, 64, 64, 1] });
    const [train, validation, test] = [0, 1, 2].map((i) => friedman(3 * seed + i, 512)) as [Part, Part, Part];
    const loss = (p: MlpParams, { x, y }: Part): Tensor => meanSquaredError(model.apply(p, x), y);
    return { train, validation, test, examples: 512, model, loss, accuracy: () => scalar(0) };
  }
  const parts = await digitParts({ train: 896, validation: 300, test: 600, seed });
  const part = (name: "train" | "validation" | "test"): Part => ({
    x: parts[name].x,
    y: parts[name].labels,
  });
  const model = mlp({ sizes: problem === "digits" ? [64, 128, 10] : [64, 128, 128, 10] });
  return {
    train: part("train"),
    validation: part("validation"),
    test: part("test"),
    examples: 896,
    model,
    loss: (p, { x, y }) => crossEntropy(model.apply(p, x), y),
    accuracy: (p, { x, y }) => accuracy(model.apply(p, x), y),
  };
}

/** Model steps taken, and those after which the batch's loss was below that of the trial. */
interface Watched<S> {
  readonly inner: S;
  readonly uses: Tensor;
  readonly better: Tensor;
}

/** SMB with one more evaluation a step, which compares the model step with the trial that failed; the steps are the same. */
function watched<P>(inner: ClosureOptimizer<P, SmbState<P>>): ClosureOptimizer<P, Watched<SmbState<P>>> {
  return {
    init: (params) => ({ inner: inner.init(params), uses: scalar(0), better: scalar(0) }),
    step: (objective, state, params) => {
      const [updates, next, loss] = inner.step(objective, state.inner, params);
      const after = objective.loss(applyUpdates(params, updates));
      const { trialLoss } = next;
      // Once a run has diverged, its steps say nothing about models.
      const used = logicalAnd(logicalNot(next.tookTrial), isFinite(loss));
      const lower = logicalOr(
        less(after, trialLoss),
        logicalAnd(logicalNot(isFinite(trialLoss)), isFinite(after)),
      );
      return [
        updates,
        {
          inner: next,
          uses: add(state.uses, cast(used, "float32")),
          better: add(state.better, cast(logicalAnd(used, lower), "float32")),
        },
        loss,
      ];
    },
  };
}

/** A gradient a step. */
function counted<P, S>(
  optimizer: AnyOptimizer<P, S>,
): ClosureOptimizer<P, { inner: S; evaluations: Tensor }> {
  const inner = asClosure(optimizer);
  return {
    init: (params) => ({ inner: inner.init(params), evaluations: scalar(0) }),
    step: (objective, state, params) => {
      const [updates, next, loss] = inner.step(objective, state.inner, params);
      return [updates, { inner: next, evaluations: add(state.evaluations, 1) }, loss];
    },
  };
}

const BATCH = 64;

function optimizerOf(
  arm: Arm,
  learningRate: Tensor,
  stepsPerEpoch: number,
  // biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
): ClosureOptimizer<MlpParams, any> {
  const autoSchedule = { stepsPerEpoch };
  switch (arm) {
    case "smb":
      return watched(smb({ learningRate, autoSchedule }));
    case "smbi":
      return smb({ learningRate, autoSchedule, independentBatch: true });
    case "shortened":
      return shortenedTrials({ learningRate, autoSchedule });
    case "sls":
      return stochasticLineSearch({ learningRate, stepsPerEpoch });
    case "sgd":
      return counted(sgd({ learningRate }));
    case "adam":
      return counted(adam({ learningRate }));
  }
}

export interface CellTrace {
  /** By epoch: loss on the training set, gradients evaluated, held-out scores. */
  readonly trainLoss: readonly number[];
  readonly evaluations: readonly number[];
  readonly validationLoss: readonly number[];
  readonly validationAccuracy: readonly number[];
  readonly testAccuracy: readonly number[];
  /** In all. */
  readonly modelSteps: number;
  readonly betterModelSteps: number;
}

const COLUMNS = 7;

/** Trains an arm with all rates side by side; yields the epochs done, returns a trace for each rate. */
export async function* trainRates(
  arm: Arm,
  problem: Problem,
  epochs: number,
  seed: number,
): AsyncGenerator<{ epoch: number; loss: number }, CellTrace[]> {
  const { train, validation, test, examples, model, loss, accuracy: rate } = await taskOf(problem, seed);
  const stepsPerEpoch = Math.floor(examples / BATCH);
  const cells = ratesOf(arm).map((learningRate) => ({ learningRate }));
  const training = trainCells({
    loss,
    optimizer: ({ learningRate }) => optimizerOf(arm, learningRate, stepsPerEpoch),
    cells,
    params: model.init(random.key(seed)),
    data: train,
    examples,
    batchSize: BATCH,
    epochs,
    epochsPerRun: 1,
    key: random.fold(random.key(seed), 1),
    measure: (p: MlpParams, state): Tensor => {
      const none = scalar(0);
      return stack([
        loss(p, train),
        state.evaluations ?? state.inner.evaluations,
        loss(p, validation),
        rate(p, validation),
        rate(p, test),
        state.uses ?? none,
        state.better ?? none,
      ]);
    },
  });
  const history: Float32Array[] = [];
  for await (const { epoch, measured } of training) {
    const values = (await data(measured!)) as Float32Array;
    history.push(values);
    const losses = cells.map((_, i) => values[i * COLUMNS]!).filter(Number.isFinite);
    yield { epoch, loss: Math.min(...losses) };
  }
  const column = (cell: number, j: number): number[] => history.map((values) => values[cell * COLUMNS + j]!);
  return cells.map((_, i) => ({
    trainLoss: column(i, 0),
    evaluations: column(i, 1),
    validationLoss: column(i, 2),
    validationAccuracy: column(i, 3),
    testAccuracy: column(i, 4),
    modelSteps: column(i, 5).at(-1)!,
    betterModelSteps: column(i, 6).at(-1)!,
  }));
}
