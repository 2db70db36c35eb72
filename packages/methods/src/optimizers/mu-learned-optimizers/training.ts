import { add, data, jit, random, scan, type Tensor, treeMap, valueAndGrad, vmap } from "@prior-art/tensor";
import type { MlpParams } from "@prior-art/toolkit/nn";
import type { GradientTransformation } from "@prior-art/toolkit/optim";
import type { MetaTask } from "./method.ts";

/** Three times the loss of a guess: a training that broke down is no worse than that. */
export const LOSS_CAP = 3 * Math.log(10);

// biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
export type Optimizer = GradientTransformation<MlpParams, any>;

/** Losses of each batch, `[steps]`, of a training from scratch. */
function lossesOf(task: MetaTask<MlpParams>, optimizer: Optimizer, steps: number, key: Tensor): Tensor {
  const lossAndGradient = valueAndGrad((params: MlpParams, rows: Tensor) => task.loss(params, rows));
  const [initKey, dataKey] = random.keys(key) as [Tensor, Tensor];
  const params = task.init(initKey);
  const [, losses] = scan(
    ({ now, state }: { now: MlpParams; state: unknown }, batch: Tensor) => {
      const [loss, gradient] = lossAndGradient(now, batch);
      const [updates, next] = optimizer.update(gradient, state, now);
      return [{ now: treeMap(add, now, updates), state: next }, loss] as const;
    },
    { now: params, state: optimizer.init(params) },
    random.randint(dataKey, [steps, task.batchSize], 0, task.examples),
  );
  return losses;
}

/** Losses `[keys][steps]` of trainings side by side, not capped, one for each key. */
export async function trainingLosses(
  task: MetaTask<MlpParams>,
  optimizer: Optimizer,
  steps: number,
  keys: Tensor,
): Promise<number[][]> {
  const run = jit((all: Tensor) => vmap((key: Tensor) => lossesOf(task, optimizer, steps, key))(all));
  const values = [...(await data(await run(keys)))];
  await run.release();
  return Array.from({ length: keys.shape[0]! }, (_, i) => values.slice(i * steps, (i + 1) * steps));
}

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Geometric mean over trainings of the mean loss of their last 20 steps; what is above the cap or not finite counts as the cap. */
export const finalLoss = (trainings: readonly (readonly number[])[], cap: number = LOSS_CAP): number =>
  Math.exp(average(trainings.map((losses) => Math.log(meanLoss(losses.slice(-20), cap)))));

/** Mean loss of all steps of a training; what is above the cap or not finite counts as the cap. */
export const meanLoss = (losses: readonly number[], cap: number = LOSS_CAP): number =>
  average(losses.map((v) => (Number.isFinite(v) ? Math.min(v, cap) : cap)));
