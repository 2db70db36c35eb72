import {
  add,
  cast,
  exp,
  matmul,
  matrixTranspose,
  minimum,
  mul,
  neg,
  random,
  relu,
  reshape,
  scalar,
  slice,
  stack,
  sub,
  type Tensor,
  TensorError,
  tensor,
  treeLeaves,
  treeMap,
  vmap,
  zeros,
} from "@prior-art/tensor";
import type { GradientTransformation } from "@prior-art/toolkit/optim";
import { requireSameTree } from "@prior-art/toolkit/optim";
import {
  type Accumulators,
  accumulate,
  FEATURE_KINDS,
  FEATURES,
  featureScales,
  startAccumulators,
  type TensorFeatures,
  tensorFeatures,
  timeFeatures,
  viewShape,
} from "./features.ts";
import { listScales, type UpdateScale } from "./muParametrization.ts";

export { type MetaTask, type MetaTrainOptions, metaTrain, persistentGradient } from "./metaTraining.ts";
export {
  muParametrize,
  type Parametrization,
  type ParametrizedMlp,
  type ParametrizedMlpOptions,
  type UpdateScale,
} from "./muParametrization.ts";

/** A learned optimizer's own parameters, φ: a perceptron of two hidden layers, and the decays of its accumulators. */
export interface LearnedOptimizerParams {
  /** `[39, hidden]`, `[hidden, hidden]`, `[hidden, 2]` */
  readonly weights: readonly Tensor[];
  readonly biases: readonly Tensor[];
  /** θ of `β = 1 - (1 - β₀)e^{10θ}`: three momenta, the second moment, three factored ones; `[7]`. */
  readonly decays: Tensor;
}

const FIRST_DECAYS = [0.9, 0.99, 0.999, 0.999, 0.9, 0.99, 0.999];
/** λ₁ and λ₂ of `λ₁ d e^{λ₂ a}`. */
const [STEP, EXPONENT] = [1e-3, 1e-3];

export interface LearnedOptimizerState {
  /** Steps taken. */
  readonly step: Tensor;
  /** Accumulators of the tensors of each shape, stacked, in the order in which shapes first appear. */
  readonly accumulators: readonly Accumulators[];
}

export interface LearnedOptimizerOptions {
  /** The multiplier of each parameter's update; 1 by default. `muParametrize` has the one of μP. */
  readonly scale?: UpdateScale;
}

export interface LearnedOptimizer {
  /** Random φ. */
  init(key: Tensor): LearnedOptimizerParams;
  /**
   * The optimizer that φ stands for, for any tree of parameters. Its updates need no learning rate; `chain` it with
   * `scale` or a schedule to change their size.
   */
  toOptimizer<P>(
    phi: LearnedOptimizerParams,
    options?: LearnedOptimizerOptions,
  ): GradientTransformation<P, LearnedOptimizerState>;
}

/** Positions of the tensors of each shape among a tree's leaves. */
function groupsOf(leaves: readonly Tensor[]): number[][] {
  const groups = new Map<string, number[]>();
  leaves.forEach((t, i) => {
    const key = viewShape(t.shape).join();
    groups.set(key, [...(groups.get(key) ?? []), i]);
  });
  return [...groups.values()];
}

/** The decay rates that φ says, within [0, 1]. */
function decaysOf({ decays }: LearnedOptimizerParams) {
  const rests = tensor(FIRST_DECAYS.map((beta) => 1 - beta));
  const rates = sub(1, minimum(1, mul(rests, exp(mul(10, decays)))));
  return { momenta: slice(rates, [0, 3]), square: slice(rates, [3, 4]), factored: slice(rates, [4, 7]) };
}

/**
 * `d` and `a` of all entries, `[2, entries]`. What features add to the first layer is computed once where it is the same
 * for many entries: for a row, a column, or (time) for all.
 */
function outputs(
  phi: LearnedOptimizerParams,
  { entries, rows, columns }: TensorFeatures,
  time: Tensor,
  epsilon: number,
): Tensor {
  const [first, second, third] = phi.weights as [Tensor, Tensor, Tensor];
  const hidden = first.shape[1]!;
  let at = 0;
  const nextWeights = (count: number): Tensor => {
    at += count;
    return slice(first, [at - count, at]);
  };
  // Normalizing a row of the weights is the same as normalizing its feature, for much less work.
  const part = (features: Tensor, count: number): Tensor => {
    const weights = mul(nextWeights(count), reshape(featureScales(features, epsilon), [count, 1]));
    return matmul(matrixTranspose(weights), reshape(features, [count, features.size / count]));
  };
  const ofEntries = part(entries, FEATURE_KINDS.entries);
  const ofRows = part(rows, FEATURE_KINDS.rows);
  const ofColumns = part(columns, FEATURE_KINDS.columns);
  const ofTime = matmul(reshape(time, [1, time.size]), nextWeights(time.size));
  const bias = add(phi.biases[0]!, reshape(ofTime, [hidden]));
  const view = entries.shape.slice(1);
  const sums =
    view.length === 2
      ? add(
          add(
            reshape(ofEntries, [hidden, ...view]),
            reshape(add(ofRows, column(bias)), [hidden, view[0]!, 1]),
          ),
          reshape(ofColumns, [hidden, 1, view[1]!]),
        )
      : add(ofEntries, add(add(ofRows, ofColumns), column(bias)));
  const one = reshape(relu(sums), [hidden, entries.size / FEATURE_KINDS.entries]);
  const two = relu(add(matmul(matrixTranspose(second), one), column(phi.biases[1]!)));
  return add(matmul(matrixTranspose(third), two), column(phi.biases[2]!));
}

const column = (bias: Tensor): Tensor => reshape(bias, [bias.size, 1]);

/**
 * The small fully-connected learned optimizer (after Metz et al., 2022) with features made independent of the gradients'
 * scale, so that its updates are as large as Adam's at every width: `w ← w - s·λ₁ d e^{λ₂ a}`, with d and a from a
 * perceptron of 39 features of each entry.
 * @param hidden Width of the perceptron's two hidden layers, 32 by default as in the paper.
 * @param epsilon Added to the mean square that a feature is divided by, 1e-5 by default as in the authors' code: features
 *   well below 0.003 count less, and the update depends on the gradients' scale that much.
 * @throws RangeError unless `hidden` is whole and positive and `epsilon` positive.
 * @example
 * const optimizer = smallFcLopt({ hidden: 8 }).toOptimizer<MlpParams>(phi, { scale: model.updateScale });
 */
export function smallFcLopt({
  hidden = 32,
  epsilon = 1e-5,
}: {
  readonly hidden?: number;
  readonly epsilon?: number;
} = {}): LearnedOptimizer {
  if (!(Number.isInteger(hidden) && hidden >= 1))
    throw new RangeError(`smallFcLopt: hidden must be a whole number of at least 1, got ${hidden}`);
  if (!(epsilon > 0)) throw new RangeError(`smallFcLopt: epsilon must be positive, got ${epsilon}`);
  const sizes = [FEATURES, hidden, hidden, 2];
  return {
    init: (key) => ({
      weights: sizes
        .slice(1)
        .map((to, i) => mul(1 / Math.sqrt(sizes[i]!), random.normal(random.fold(key, i), [sizes[i]!, to]))),
      biases: sizes.slice(1).map((to) => zeros([to])),
      decays: zeros([7]),
    }),
    toOptimizer: <P>(
      phi: LearnedOptimizerParams,
      { scale = () => 1 }: LearnedOptimizerOptions = {},
    ): GradientTransformation<P, LearnedOptimizerState> => {
      const op = "smallFcLopt";
      const shapes = phi.weights.map(({ shape }) => shape.join(" × "));
      if (
        shapes.join() !==
        sizes
          .slice(1)
          .map((to, i) => `${sizes[i]} × ${to}`)
          .join()
      )
        throw new TensorError(
          op,
          `φ has weights of ${shapes.join(", ")}, which are not of hidden width ${hidden}`,
        );
      return {
        init(params) {
          const leaves = treeLeaves(params);
          return {
            step: scalar(0),
            accumulators: groupsOf(leaves).map((group) => {
              const each = startAccumulators(viewShape(leaves[group[0]!]!.shape));
              return treeMap((t) => zeros([group.length, ...t.shape]), each);
            }),
          };
        },
        update(gradients, state, params) {
          requireSameTree(op, gradients, params);
          const leaves = treeLeaves(params);
          const given = treeLeaves(gradients);
          const groups = groupsOf(leaves);
          const scales = listScales(params, scale);
          const decays = decaysOf(phi);
          const time = timeFeatures(state.step);
          const fits = groups.every((group, i) => {
            const own = state.accumulators[i]?.square.shape.join();
            return own === [group.length, ...viewShape(leaves[group[0]!]!.shape)].join();
          });
          if (!fits || groups.length !== state.accumulators.length)
            throw new TensorError(op, `the state was made for other parameters than ${leaves.join(", ")}`);
          const updates: Tensor[] = [];
          const accumulators = groups.map((group, i) => {
            const view = viewShape(leaves[group[0]!]!.shape);
            const stacked = (tree: readonly Tensor[]): Tensor =>
              stack(group.map((at) => cast(reshape(tree[at]!, view), "float32")));
            const [next, output] = vmap((before: Accumulators, g: Tensor, w: Tensor) => {
              const now = accumulate(before, decays, g);
              return [now, outputs(phi, tensorFeatures(now, g, w), time, epsilon)] as const;
            })(state.accumulators[i]!, stacked(given), stacked(leaves));
            group.forEach((at, row) => {
              const [d, a] = [slice(output, row, 0), slice(output, row, 1)];
              const step = neg(mul(STEP * scales[at]!, mul(d, exp(mul(EXPONENT, a)))));
              updates[at] = cast(reshape(step, leaves[at]!.shape), leaves[at]!.dtype);
            });
            return next;
          });
          let at = 0;
          return [treeMap(() => updates[at++]!, params), { step: add(state.step, 1), accumulators }];
        },
      };
    },
  };
}
