import {
  add,
  arange,
  cast,
  div,
  oneHot,
  random,
  reshape,
  scan,
  type Tensor,
  take,
  valueAndGrad,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { applyUpdates, type GradientTransformation, shuffledBatches } from "@prior-art/toolkit/optim";
import type { Moment, Regularizer, Seen } from "./family.ts";
import type { SiteHook } from "./residualMlp.ts";

/** A network that lets a hook change its activations. */
export interface HookedNetwork<P> {
  init(key: Tensor): P;
  apply(params: P, inputs: Tensor, hook?: SiteHook): Tensor;
}

export interface RegularizedTraining<P, O, S> {
  readonly network: HookedNetwork<P>;
  readonly regularizer: Regularizer<P, S>;
  readonly optimizer: GradientTransformation<P, O>;
  /** `[examples, …input]` and int32 `[examples]`. */
  readonly data: { readonly inputs: Tensor; readonly labels: Tensor };
  readonly classes: number;
  readonly batchSize: number;
  /** Of the whole training: what `progress` is a share of. */
  readonly epochs: number;
}

export interface TrainingState<P, O, S> {
  readonly params: P;
  readonly optimizer: O;
  readonly regularizer: S;
}

/** Training with a regularizer's hooks as pure functions. */
export function regularizedTraining<P, O, S>(training: RegularizedTraining<P, O, S>) {
  const { network, regularizer, optimizer, data, classes, batchSize, epochs } = training;
  const examples = data.labels.shape[0]!;
  const perEpoch = Math.floor(examples / batchSize);

  /** The loss of a batch in training mode, and the memory after it. */
  const lossOf = (params: P, moment: Moment, state: S): [Tensor, S] => {
    const raw = take(data.inputs, moment.indices);
    const inputs = regularizer.inputs?.(raw, moment) ?? raw;
    const sharp = oneHot(take(data.labels, moment.indices), classes);
    const targets = regularizer.targets?.(sharp, moment, state) ?? sharp;
    const activations: Seen<P>["activations"][number][] = [];
    const used = regularizer.parameters?.(params) ?? params;
    const logits = network.apply(used, inputs, (x, site) => {
      const value = regularizer.activations?.(x, site, moment) ?? x;
      activations.push({ site, value });
      return value;
    });
    const seen = { params: used, inputs, logits, targets, activations };
    const plain = crossEntropy(logits, targets);
    const loss = regularizer.loss?.(plain, seen, moment, state) ?? plain;
    return [loss, regularizer.update?.(state, seen, moment) ?? state];
  };

  const step = (before: TrainingState<P, O, S>, moment: Moment) => {
    const [[loss, after], raw] = valueAndGrad((p: P): [Tensor, S] => lossOf(p, moment, before.regularizer), {
      hasAux: true,
    })(before.params);
    const gradients = regularizer.gradients?.(raw, before.params, moment) ?? raw;
    const [updates, memory] = optimizer.update(gradients, before.optimizer, before.params);
    const params = applyUpdates(before.params, updates);
    return [{ params, optimizer: memory, regularizer: after }, loss] as const;
  };

  return {
    lossOf,
    init: (key: Tensor): TrainingState<P, O, S> => {
      const params = network.init(key);
      return {
        params,
        optimizer: optimizer.init(params),
        regularizer: regularizer.init?.(params, { examples, classes }) ?? (null as S),
      };
    },
    /** Keys of all epochs, `[epochs]`. */
    epochKeys: (seed: number): Tensor => random.split(random.fold(random.key(seed), 1), epochs),
    /** Epochs from number `first` (an int32 scalar), one for each of `keys`; losses are `[epochs, steps]`. */
    run: (state: TrainingState<P, O, S>, keys: Tensor, first: Tensor): [TrainingState<P, O, S>, Tensor] => {
      const count = keys.shape[0]!;
      const done = reshape(arange(count * perEpoch), [count, perEpoch]);
      return scan(
        (before, [key, steps]) => {
          const [orderKey, stepKey] = random.keys(key) as [Tensor, Tensor];
          const indices = shuffledBatches(orderKey, examples, batchSize);
          const progress = div(add(div(cast(steps, "float32"), perEpoch), cast(first, "float32")), epochs);
          return scan(step, before, { key: random.split(stepKey, perEpoch), progress, indices });
        },
        state,
        [keys, done] as const,
      );
    },
    /** Logits in evaluation mode, with the parameters that the regularizer makes of the trained ones. */
    predict: (params: P, inputs: Tensor): Tensor =>
      network.apply(regularizer.parameters?.(params) ?? params, inputs),
  };
}
