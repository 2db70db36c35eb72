import {
  broadcastTo,
  data,
  item,
  jit,
  mean,
  random,
  type Tensor,
  tensor,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import type { TaskPart } from "@prior-art/toolkit/data";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { accuracy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { adam } from "@prior-art/toolkit/optim";
import type { ContinualLearner, Examples } from "./family.ts";
import { continualTraining } from "./training.ts";

export interface StreamRun {
  /** A learner for each of these values (a scalar tensor), all trained side by side. */
  readonly strengths: readonly number[];
  // biome-ignore lint/suspicious/noExplicitAny: each learner keeps a memory of its own type
  readonly learner: (strength: Tensor) => ContinualLearner<MlpParams, any>;
  /** Training parts of the tasks, as large as each other. */
  readonly tasks: readonly TaskPart[];
  /** What is measured after task `index`: parts as large as each other. */
  readonly measured: (index: number) => readonly TaskPart[];
  /** Hidden widths, `[64, 64]` by default. */
  readonly hidden?: readonly number[];
  readonly classes: number;
  readonly epochs: number;
  readonly batchSize: number;
  /** Of Adam, whose state goes on from task to task. */
  readonly learningRate: number;
  readonly seed: number;
}

const examples = (part: TaskPart): Examples => ({
  inputs: tensor(part.features, { shape: [part.labels.length, part.features.length / part.labels.length] }),
  labels: tensor(part.labels),
});

/** Parts of one size as tensors `[parts, examples, …]`. */
function stacked(parts: readonly TaskPart[]): Examples {
  const count = parts[0]!.labels.length;
  const width = parts[0]!.features.length / count;
  const features = new Float32Array(parts.length * count * width);
  const labels = new Int32Array(parts.length * count);
  parts.forEach((part, i) => {
    if (part.labels.length !== count)
      throw new RangeError(`stream: measured parts hold ${count} and ${part.labels.length} examples`);
    features.set(part.features, i * count * width);
    labels.set(part.labels, i * count);
  });
  return {
    inputs: tensor(features, { shape: [parts.length, count, width] }),
    labels: tensor(labels, { shape: [parts.length, count] }),
  };
}

export interface StreamProgress {
  /** Tasks that are over. */
  readonly tasks: number;
  /** Accuracy of each learner on each measured part. */
  readonly accuracies: readonly (readonly number[])[];
}

/**
 * A multilayer perceptron learns a stream of tasks; yields after each of them, and returns the parameters of all learners,
 * stacked along a first axis.
 * @throws DivergedError when a loss is not finite.
 */
export async function* learnStream(run: StreamRun): AsyncGenerator<StreamProgress, MlpParams, void> {
  const { strengths, tasks, classes, epochs, batchSize, learningRate, seed, hidden = [64, 64] } = run;
  const inputs = tasks[0]!.features.length / tasks[0]!.labels.length;
  const network = mlp({ sizes: [inputs, ...hidden, classes] });
  const optimizer = adam<MlpParams>({ learningRate });
  const trainingOf = (strength: Tensor) =>
    continualTraining({
      network,
      inputs,
      classes,
      learner: run.learner(strength),
      optimizer,
      batchSize,
      epochs,
    });
  const values = tensor(Float32Array.from(strengths));
  const key = random.key(seed);
  type State = ReturnType<ReturnType<typeof trainingOf>["init"]>;

  const learnOne = (strength: Tensor, before: State, task: Examples, held: Examples, taskKey: Tensor) => {
    const [after, losses] = trainingOf(strength).learn(before, task, taskKey);
    const share = (x: Tensor, labels: Tensor): Tensor => accuracy(network.apply(after.params, x), labels);
    return [after, mean(losses), vmap(share)(held.inputs, held.labels)] as const;
  };
  const learn = jit(vmap(learnOne, { inAxes: [0, 0, null, null, null] }));
  const first = trainingOf(tensor(strengths[0]!)).init(random.fold(key, 0));
  let state: State = treeMap((t) => broadcastTo(t, [strengths.length, ...t.shape]), first);
  try {
    for (const [i, task] of tasks.entries()) {
      const [after, losses, shares] = await learn(
        values,
        state,
        examples(task),
        stacked(run.measured(i)),
        random.fold(key, i + 1),
      );
      state = after;
      if (!Number.isFinite(await item(mean(losses))))
        throw new DivergedError(`the loss is not finite in task ${i + 1}`);
      const flat = [...(await data(shares))];
      const parts = flat.length / strengths.length;
      yield {
        tasks: i + 1,
        accuracies: strengths.map((_, j) => flat.slice(j * parts, (j + 1) * parts)),
      };
    }
  } finally {
    await learn.release();
  }
  return state.params;
}
