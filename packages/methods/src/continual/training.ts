import { random, scan, type Tensor, take, valueAndGrad } from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { applyUpdates, type GradientTransformation, shuffledBatches } from "@prior-art/toolkit/optim";
import type { ContinualLearner, Examples, LearnerStep } from "./family.ts";

export interface ContinualTraining<P, O, S> {
  readonly network: { init(key: Tensor): P; apply(params: P, inputs: Tensor): Tensor };
  readonly inputs: number;
  readonly classes: number;
  readonly learner: ContinualLearner<P, S>;
  readonly optimizer: GradientTransformation<P, O>;
  readonly batchSize: number;
  /** Epochs on each task. */
  readonly epochs: number;
}

export interface StreamState<P, O, S> {
  readonly params: P;
  /** The optimizer's state goes on from task to task. */
  readonly optimizer: O;
  readonly learner: S;
}

/** Learning a stream of tasks as pure functions. */
export function continualTraining<P, O, S>(training: ContinualTraining<P, O, S>) {
  const { network, inputs, classes, learner, optimizer, batchSize, epochs } = training;
  const predict = (params: P, x: Tensor): Tensor => network.apply(params, x);

  const step =
    (task: Examples) =>
    (before: StreamState<P, O, S>, [rows, key]: readonly [Tensor, Tensor]) => {
      const batch = { inputs: take(task.inputs, rows), labels: take(task.labels, rows) };
      const seenAt = (params: P, logits: Tensor): LearnerStep<P> => ({ params, batch, logits, predict, key });
      const [[loss, logits], raw] = valueAndGrad(
        (params: P): [Tensor, Tensor] => {
          const outputs = predict(params, batch.inputs);
          const plain = crossEntropy(outputs, batch.labels);
          return [learner.loss?.(plain, seenAt(params, outputs), before.learner) ?? plain, outputs];
        },
        { hasAux: true },
      )(before.params);
      const gradients = learner.gradients?.(raw, seenAt(before.params, logits), before.learner) ?? raw;
      const [updates, optimizerState] = optimizer.update(gradients, before.optimizer, before.params);
      const params = applyUpdates(before.params, updates);
      const after = learner.afterStep?.(before.learner, seenAt(params, logits));
      const next = { params: after?.params ?? params, optimizer: optimizerState };
      return [{ ...next, learner: after?.state ?? before.learner }, loss] as const;
    };

  return {
    init: (key: Tensor): StreamState<P, O, S> => {
      const [networkKey, learnerKey] = random.keys(key) as [Tensor, Tensor];
      const params = network.init(networkKey);
      return {
        params,
        optimizer: optimizer.init(params),
        learner: learner.init?.(params, { inputs, classes, key: learnerKey }) ?? (null as S),
      };
    },
    /** Learns one task; losses are `[epochs, steps]`. */
    learn: (before: StreamState<P, O, S>, task: Examples, key: Tensor): [StreamState<P, O, S>, Tensor] => {
      const [startKey, endKey, epochKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
      const started = learner.beforeTask?.(before.learner, {
        params: before.params,
        task,
        predict,
        key: startKey,
      });
      const start = {
        ...before,
        params: started?.params ?? before.params,
        learner: started?.state ?? before.learner,
      };
      const count = task.labels.shape[0]!;
      const [after, losses] = scan(
        (state, epoch) => {
          const [orderKey, stepKey] = random.keys(epoch) as [Tensor, Tensor];
          const rows = shuffledBatches(orderKey, count, batchSize);
          return scan(step(task), state, [rows, random.split(stepKey, rows.shape[0])] as const);
        },
        start,
        random.split(epochKey, epochs),
      );
      const boundary = { params: after.params, task, predict, key: endKey };
      return [{ ...after, learner: learner.afterTask?.(after.learner, boundary) ?? after.learner }, losses];
    },
  };
}
