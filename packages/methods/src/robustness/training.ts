import { random, scan, type Tensor, take, valueAndGrad, zeros } from "@prior-art/tensor";
import { dense, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { applyUpdates, type GradientTransformation, shuffledBatches } from "@prior-art/toolkit/optim";
import type { Outputs, RobustObjective } from "./family.ts";

/** A network that shows its features. */
export interface FeatureNetwork<P> {
  init(key: Tensor): P;
  apply(params: P, inputs: Tensor): Outputs;
}

/** A multilayer perceptron with its last hidden layer as features. */
export function featureMlp(sizes: readonly number[]): FeatureNetwork<MlpParams> {
  const model = mlp({ sizes });
  return {
    init: model.init,
    apply: (params, inputs) => {
      const features = model.features(params, inputs);
      return { features, logits: dense.apply(params.layers.at(-1)!, features) };
    },
  };
}

/** Training examples; a missing `groups` means one group. */
export interface RobustData {
  /** `[examples, …input]` */
  readonly inputs: Tensor;
  /** int32 `[examples]` */
  readonly labels: Tensor;
  /** int32 `[examples]` */
  readonly groups?: Tensor;
}

export interface RobustTraining<P, O, S> {
  readonly network: FeatureNetwork<P>;
  readonly objective: RobustObjective<S>;
  readonly optimizer: GradientTransformation<P, O>;
  readonly data: RobustData;
  readonly classes: number;
  /** Number of groups, 1 by default. */
  readonly groups?: number;
  readonly batchSize: number;
}

export interface TrainingState<P, O, S> {
  readonly params: P;
  readonly optimizer: O;
  readonly objective: S;
}

/** Training on a robust objective as pure functions: the first state, and a run of epochs. */
export function robustTraining<P, O, S>(training: RobustTraining<P, O, S>) {
  const { network, objective, optimizer, data, classes, groups = 1, batchSize } = training;
  const examples = data.labels.shape[0]!;
  const groupOf = data.groups ?? zeros([examples], "int32");

  const step = ({ params, optimizer: memory, objective: before }: TrainingState<P, O, S>, rows: Tensor) => {
    const inputs = take(data.inputs, rows);
    const lossOf = (p: P): [Tensor, S] => {
      const batch = { inputs, labels: take(data.labels, rows), indices: rows, groups: take(groupOf, rows) };
      const predict = (x: Tensor): Outputs => network.apply(p, x);
      const [loss, after] = objective.loss({ ...batch, ...predict(inputs), predict }, before);
      return [loss, after];
    };
    const [[loss, after], gradients] = valueAndGrad(lossOf, { hasAux: true })(params);
    const [updates, next] = optimizer.update(gradients, memory, params);
    return [{ params: applyUpdates(params, updates), optimizer: next, objective: after }, loss] as const;
  };

  return {
    init: (key: Tensor): TrainingState<P, O, S> => {
      const params = network.init(key);
      return {
        params,
        optimizer: optimizer.init(params),
        objective: objective.init({ examples, classes, groups }),
      };
    },
    /** One epoch for each key of `keys` `[epochs]`, in shuffled batches; losses are `[epochs, steps]`. */
    epochs: (state: TrainingState<P, O, S>, keys: Tensor): [TrainingState<P, O, S>, Tensor] =>
      scan((before, key) => scan(step, before, shuffledBatches(key, examples, batchSize)), state, keys),
    /** Keys for `count` epochs. */
    epochKeys: (seed: number, count: number): Tensor => random.split(random.fold(random.key(seed), 1), count),
  };
}
