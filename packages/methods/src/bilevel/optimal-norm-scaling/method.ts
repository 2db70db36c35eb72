import {
  add,
  mul,
  neg,
  scalar,
  sub,
  type Tensor,
  TensorError,
  treeLeaves,
  treeMap,
  zerosLike,
} from "@prior-art/tensor";
import {
  type GradientTransformation,
  type LearningRate,
  requireLearningRate,
  requireSameTree,
} from "@prior-art/toolkit/optim";
import { type NormKind, type Orthogonalization, steepestDirection, turned } from "./norms.ts";

export {
  fitNormOptimum,
  fitScaling,
  type NormFitOptions,
  type NormOptimum,
  type NormPoint,
  type Scaling,
  type ScalingPoint,
} from "./fits.ts";
export { type NormKind, type Orthogonalization, operatorNorm, steepestDirection } from "./norms.ts";

/** Layers that are measured in one norm. */
export interface LayerGroup<P> {
  readonly norm: NormKind;
  /** ρ: what a step changes a layer by is ηρ in its norm, and what the constrained variant keeps it below. Default 1. */
  readonly radius?: number | Tensor;
  /** Picks the group's matrices out of the parameters. */
  readonly of: (params: P) => unknown;
  /** `inputsFirst` (default): `[inputs, outputs]`, which `x · W` takes; else `[outputs, inputs]`. */
  readonly layout?: "inputsFirst" | "outputsFirst";
}

export interface ScionOptions<P> {
  readonly groups: readonly LayerGroup<P>[];
  /** η, by step if need be. */
  readonly learningRate: LearningRate;
  /** α of the buffer `m ← (1 − α)m + αg`; 1 is no memory. Default 0.1. */
  readonly momentum?: number;
  /** Shrinks weights by 1 − η in each step, which keeps a layer's norm below ρ. Default false. */
  readonly constrained?: boolean;
  /** Default `newtonSchulz`. */
  readonly orthogonalize?: Orthogonalization;
}

export interface ScionState<P> {
  readonly momentum: P;
  readonly step: Tensor;
}

/**
 * Scion: every step goes down the steepest direction of a layer's own operator norm, by exactly ηρ in that norm whatever the
 * gradient's size: `W ← W − ηρ 𝓛(m)`, or `W ← (1 − η)W − ηρ 𝓛(m)` when constrained.
 *
 * @throws RangeError for a learning rate, momentum or radius out of range. @throws TensorError when a matrix belongs to no group or
 *   to several, or a parameter is no matrix.
 *
 * @example
 * const optimizer = scion<WindowModelParams>({
 *   groups: [
 *     { norm: "oneToRms", of: (p) => p.embedding },
 *     { norm: "rmsToRms", of: (p) => p.blocks },
 *     { norm: "rmsToInf", of: (p) => p.output },
 *   ],
 *   learningRate: 2 ** -7,
 * });
 */
export function scion<P>({
  groups,
  learningRate,
  momentum = 0.1,
  constrained = false,
  orthogonalize = "newtonSchulz",
}: ScionOptions<P>): GradientTransformation<P, ScionState<P>> {
  requireLearningRate("scion", learningRate);
  if (constrained && typeof learningRate === "number" && learningRate > 1)
    throw new RangeError(`scion: a constrained step needs a learning rate of at most 1, got ${learningRate}`);
  if (!(momentum > 0 && momentum <= 1))
    throw new RangeError(`scion: momentum must be above 0 and at most 1, got ${momentum}`);
  for (const { norm, radius = 1 } of groups)
    if (typeof radius === "number" && !(radius > 0 && Number.isFinite(radius)))
      throw new RangeError(`scion: the radius of ${norm} must be positive, got ${radius}`);
  const rateAt = typeof learningRate === "function" ? learningRate : () => learningRate;

  /** For each tensor, in order, the group that it belongs to. */
  const owners = (params: P): LayerGroup<P>[] => {
    // Marks, unlike parameters, are all different tensors.
    const marks = treeMap(zerosLike, params);
    const members = groups.map((group) => treeLeaves(group.of(marks)));
    return treeLeaves(marks).map((mark) => {
      if (mark.rank !== 2) throw new TensorError("scion", `takes matrices only, got ${mark.toString()}`);
      const found = groups.filter((_, k) => members[k]!.includes(mark));
      if (found.length !== 1)
        throw new TensorError("scion", `a parameter ${mark.toString()} belongs to ${found.length} groups`);
      return found[0]!;
    });
  };

  return {
    init: (params) => {
      owners(params);
      const dtype = treeLeaves(params)[0]!.dtype as "float32";
      return { momentum: treeMap(zerosLike, params), step: scalar(0, dtype) };
    },
    update: (gradients, state, params) => {
      requireSameTree("scion", gradients, params);
      const buffer = treeMap(
        (m, g) => (momentum === 1 ? g : add(mul(1 - momentum, m), mul(momentum, g))),
        state.momentum,
        gradients,
      );
      const rate = rateAt(state.step);
      const groupOf = owners(params);
      let leaf = 0;
      const updates = treeMap(
        (m, w) => {
          const { norm, radius = 1, layout = "inputsFirst" } = groupOf[leaf++]!;
          const direction = turned(steepestDirection(turned(m, layout), norm, orthogonalize), layout);
          const descent = neg(mul(radius, direction));
          return mul(rate, constrained ? sub(descent, w) : descent);
        },
        buffer,
        params,
      );
      return [updates, { momentum: buffer, step: add(state.step, 1) }];
    },
  };
}
