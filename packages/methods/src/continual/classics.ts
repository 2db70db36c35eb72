import {
  add,
  cast,
  div,
  expandDims,
  grad,
  greater,
  less,
  mean,
  mul,
  random,
  scalar,
  sqrt,
  sub,
  sum,
  type Tensor,
  take,
  treeLeaves,
  treeMap,
  vmap,
  where,
  zeros,
  zerosLike,
} from "@prior-art/tensor";
import { crossEntropy as crossEntropyOf } from "@prior-art/toolkit/nn";
import type { ContinualLearner, Scalar } from "./family.ts";

const squares = (t: Tensor): Tensor => sum(mul(t, t));
const total = (values: readonly Tensor[]): Tensor => values.reduce((a, b) => add(a, b));
const differences = <P>(a: P, b: P): Tensor[] => {
  const others = treeLeaves(b);
  return treeLeaves(a).map((t, i) => sub(t, others[i]!));
};

/** Goes on training without a thought of other tasks. */
export const fineTuning = <P>(): ContinualLearner<P> => ({});

/** `strength · ‖θ‖²` added to the loss. */
export const l2 = <P>({ strength }: { readonly strength: Scalar }): ContinualLearner<P> => ({
  loss: (crossEntropy, { params }) =>
    add(crossEntropy, mul(strength, total(treeLeaves(params).map(squares)))),
});

/** `strength · ‖θ - θ⁰‖²` with the initial parameters (Kumar et al., 2023). */
export const l2Init = <P>({ strength }: { readonly strength: Scalar }): ContinualLearner<P, P> => ({
  init: (params) => params,
  loss: (crossEntropy, { params }, initial) =>
    add(crossEntropy, mul(strength, total(differences(params, initial).map(squares)))),
});

/**
 * Shrink and perturb (Ash & Adams, 2020) at every step: `θ ← (1 - strength) θ + strength · noise`, normal noise with the
 * root mean square of each tensor's initial values.
 */
export const shrinkAndPerturb = <P>({
  strength,
}: {
  readonly strength: Scalar;
}): ContinualLearner<P, readonly Tensor[]> => ({
  init: (params) => treeLeaves(params).map((t) => sqrt(div(squares(t), t.size))),
  afterStep: (scales, { params, key }) => {
    let i = 0;
    const shaken = treeMap((t) => {
      const noise = mul(scales[i]!, random.normal(random.fold(key, i), t.shape));
      i++;
      return add(mul(sub(1, strength), t), mul(strength, noise));
    }, params);
    return { state: scales, params: shaken };
  },
});

export interface ConsolidationState<P> {
  /** θ*, the parameters after the last task. */
  readonly anchor: P;
  /** Sum of the tasks' diagonal Fisher informations. */
  readonly fisher: P;
}

/**
 * Elastic weight consolidation (Kirkpatrick et al., 2017) with one anchor (Huszár, 2018): `strength/2 · Σ F (θ - θ*)²`, F
 * from labels drawn from the model.
 */
export const elasticWeightConsolidation = <P>({
  strength,
}: {
  readonly strength: Scalar;
}): ContinualLearner<P, ConsolidationState<P>> => ({
  init: (params) => ({ anchor: params, fisher: treeMap(zerosLike, params) }),
  loss: (crossEntropy, { params }, { anchor, fisher }) => {
    const weights = treeLeaves(fisher);
    const pulls = differences(params, anchor).map((d, i) => sum(mul(weights[i]!, mul(d, d))));
    return add(crossEntropy, mul(mul(0.5, strength), total(pulls)));
  },
  afterTask: ({ fisher }, { params, task, predict, key }) => {
    const drawn = random.categorical(key, predict(params, task.inputs));
    const score = (input: Tensor, label: Tensor): P =>
      grad((p: P) => crossEntropyOf(predict(p, expandDims(input, 0)), expandDims(label, 0)))(params);
    const scores = vmap(score)(task.inputs, drawn);
    const own = treeMap((g) => mean(mul(g, g), 0), scores);
    return { anchor: params, fisher: treeMap((a, b) => add(a, b), fisher, own) };
  },
});

export interface ReplayState {
  /** `[size, inputs]` */
  readonly inputs: Tensor;
  /** int32 `[size]` */
  readonly labels: Tensor;
  /** Tasks that are over, a scalar. */
  readonly tasks: Tensor;
}

/**
 * Experience replay: keeps `size` examples, about as many of each task that is over, and adds `strength` times their loss
 * on a batch as large as the task's.
 * @throws RangeError unless `size` is a whole number of at least 1.
 */
export const replay = <P>({
  size = 100,
  strength = 1,
}: {
  readonly size?: number;
  readonly strength?: Scalar;
}): ContinualLearner<P, ReplayState> => {
  if (!(Number.isInteger(size) && size >= 1))
    throw new RangeError(`replay: size must be a whole number of at least 1, got ${size}`);
  return {
    init: (_, { inputs }) => ({
      inputs: zeros([size, inputs]),
      labels: zeros([size], "int32"),
      tasks: scalar(0),
    }),
    loss: (crossEntropy, { params, batch, predict, key }, memory) => {
      const rows = random.randint(key, [batch.labels.shape[0]!], 0, size);
      const old = crossEntropyOf(predict(params, take(memory.inputs, rows)), take(memory.labels, rows));
      return add(crossEntropy, mul(mul(strength, cast(greater(memory.tasks, 0), "float32")), old));
    },
    afterTask: ({ inputs, labels, tasks }, { task, key }) => {
      const [rowKey, slotKey] = random.keys(key) as [Tensor, Tensor];
      const rows = random.randint(rowKey, [size], 0, task.labels.shape[0]!);
      const after = add(tasks, 1);
      // Each slot goes to the new task with probability 1 / tasks, so that all tasks hold about as many.
      const replaced = less(random.uniform(slotKey, [size]), div(1, after));
      return {
        inputs: where(expandDims(replaced, -1), take(task.inputs, rows), inputs),
        labels: where(replaced, take(task.labels, rows), labels),
        tasks: after,
      };
    },
  };
};
