import { data, item, jit, mean, random, slice, stack, sub, type Tensor, tensor } from "@prior-art/tensor";
import { digits, selectEntries, selectRows, stratifiedSplit } from "@prior-art/toolkit/data";
import { DivergedError, defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { accuracy, crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { adam, cosineDecay, fit, momentum, sgd } from "@prior-art/toolkit/optim";
import { contenders } from "./contenders.generated.ts";
import type { Contender } from "./family.ts";

const entries: Readonly<Record<string, Contender>> = {
  sgd: {
    label: "SGD",
    space: { learningRate: [0.01, 0.03, 0.1, 0.3, 1] },
    optimizer: ({ learningRate = 0.1 }, { steps }) => sgd({ learningRate: cosineDecay(learningRate, steps) }),
  },
  momentum: {
    label: "SGD with momentum",
    space: { learningRate: [1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3], decay: [0.9, 0.98] },
    optimizer: ({ learningRate = 0.01, decay = 0.9 }, { steps }) =>
      momentum({ learningRate: cosineDecay(learningRate, steps), decay }),
  },
  adam: {
    label: "Adam",
    space: { learningRate: [3e-4, 1e-3, 3e-3, 0.01, 0.03] },
    optimizer: ({ learningRate = 1e-3 }, { steps }) =>
      adam({ learningRate: cosineDecay(learningRate, steps) }),
  },
  ...contenders,
};

const arms = Object.fromEntries(
  Object.entries(entries).map(([name, { label, space, fixed }]) => [
    name,
    { label, ...(space && { space }), ...(fixed && { fixed }) },
  ]),
);

interface Part {
  /** Grey levels 0–1, `[examples, 64]`. */
  readonly x: Tensor;
  /** int32 `[examples]` */
  readonly labels: Tensor;
}

async function parts(seed: number, train: number): Promise<Record<"train" | "validation" | "test", Part>> {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train, validation: 300, test: 500, seed });
  const part = (indices: Int32Array): Part => ({
    x: tensor(
      selectRows(features, shape, indices).map((v) => v / 16),
      { shape: [indices.length, 64] },
    ),
    labels: tensor(selectEntries(labels, indices)),
  });
  return { train: part(split.train), validation: part(split.validation), test: part(split.test) };
}

const model = mlp({ sizes: [64, 128, 128, 10] });
const BATCH = 32;

type Metrics = {
  /** Log loss of 300 validation digits, in nats. */
  readonly validationLoss: number;
  /** Of 500 test digits. */
  readonly testLoss: number;
  readonly testError: number;
  readonly trainLoss: number;
};

/** A perceptron on 8×8 digits: log loss after the same number of steps and of tuning runs. */
export default defineExperiment({
  settings: { full: { trainSize: 900, epochs: 25 }, quick: { trainSize: 450, epochs: 8 } },
  seeds: { full: 10, quick: 2 },
  arms,
  async *run({ arm, seed, settings, hyperparameters }): AsyncGenerator<Progress, Metrics, void> {
    const { trainSize, epochs } = settings;
    const { train, validation, test } = await parts(seed, trainSize);
    const steps = epochs * Math.floor(trainSize / BATCH);
    const optimizer = await entries[arm]!.optimizer<MlpParams>({ ...(hyperparameters as object) }, { steps });
    let params = model.init(random.key(seed));
    const training = fit({
      loss: (p: MlpParams, batch: Part) => crossEntropy(model.apply(p, batch.x), batch.labels),
      outputs: (batch: Part) => ({
        predict: (p: MlpParams) => model.apply(p, batch.x),
        targets: batch.labels,
        kind: "crossEntropy",
      }),
      optimizer,
      params,
      data: train,
      batchSize: BATCH,
      epochs,
      epochsPerRun: 5,
      key: random.fold(random.key(seed), 1),
    });
    for await (const progress of training) {
      params = progress.params;
      const loss = await item(mean(slice(progress.losses, -1)));
      if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss} in epoch ${progress.epoch}`);
      yield { step: progress.epoch, of: epochs, metrics: { loss } };
    }
    const score = jit((p: MlpParams) => {
      const lossOf = ({ x, labels }: Part): Tensor => crossEntropy(model.apply(p, x), labels);
      const error = sub(1, accuracy(model.apply(p, test.x), test.labels));
      return stack([lossOf(validation), lossOf(test), error, lossOf(train)]);
    });
    const scores = [...(await data(await score(params)))] as [number, number, number, number];
    await score.release();
    const [validationLoss, testLoss, testError, trainLoss] = scores;
    return { validationLoss, testLoss, testError, trainLoss };
  },
  tuning: {
    metric: "validationLoss",
    goal: "minimize",
    budget: { full: 12, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) => {
    const labelOf = (arm: string): string => named.find(({ name }) => name === arm)!.label;
    return (["testLoss", "trainLoss"] as const).map((metric) => ({
      title: metric === "testLoss" ? "Test loss" : "Training loss",
      options: {
        width: 460,
        height: 260,
        marginLeft: 150,
        x: { label: "log loss", grid: true, type: metric === "testLoss" ? "linear" : "log" },
        y: { label: null, domain: named.map(({ label }) => label) },
        marks: [Plot.dot(units, { x: ({ metrics }) => metrics[metric], y: ({ arm }) => labelOf(arm) })],
      },
    }));
  },
  leaderboard: { metric: "testLoss", goal: "minimize" },
});
