import {
  add,
  cast,
  data,
  isFinite as finite,
  greater,
  logicalAnd,
  min,
  scalar,
  stack,
  sub,
  type Tensor,
  TensorError,
  treeLeaves,
  treeMap,
  where,
  zerosLike,
} from "@prior-art/tensor";
import type { LearningRate } from "./scaling.ts";
import type { GradientTransformation } from "./transformation.ts";
import { mapPaths } from "./treePaths.ts";

/** @throws RangeError naming `op` when a rate that is a number is 0 or less, or not finite. */
export function requireLearningRate(op: string, rate: LearningRate): void {
  if (typeof rate === "number" && !(rate > 0 && Number.isFinite(rate)))
    throw new RangeError(`${op}: the learning rate must be positive and finite, got ${rate}`);
}

/** @throws RangeError naming `op` unless `rank` is whole and from 1 to the smaller side of a matrix of this shape. */
export function requireRank(op: string, rank: number, shape: readonly number[]): void {
  const most = Math.min(...shape);
  if (!(Number.isInteger(rank) && rank >= 1 && rank <= most))
    throw new RangeError(
      `${op}: a matrix of shape [${shape.join(", ")}] takes a rank from 1 to ${most}, got ${rank}`,
    );
}

/** 1 when every entry is finite, else 0; a scalar. */
const allFinite = (t: Tensor): Tensor => min(cast(finite(t), "int32"));

/**
 * Resolves when every entry of every tensor is finite, for loops that take their steps one by one; compiled loops use
 * `skipNonFinite`.
 * @throws TensorError naming `op` and the first tensor, by its path in the tree, that holds a NaN or an infinity.
 * @example
 * await requireFinite("training step", gradients);
 */
export async function requireFinite(op: string, tree: unknown): Promise<void> {
  const paths: string[] = [];
  const checks: Tensor[] = [];
  mapPaths(tree, (path, t) => {
    if (t.size > 0 && t.dtype.startsWith("float")) {
      paths.push(path);
      checks.push(allFinite(t));
    }
    return t;
  });
  if (checks.length === 0) return;
  const bad = (await data(stack(checks))).indexOf(0);
  if (bad >= 0) throw new TensorError(op, `${paths[bad] || "the tensor"} holds a NaN or an infinity`);
}

export interface SkipState<S> {
  readonly inner: S;
  /** Steps left out so far, an int32 scalar. */
  readonly skipped: Tensor;
}

/**
 * Leaves out the steps whose gradients hold a NaN or an infinity: the update is 0, the inner state stays as it was, and
 * `skipped` in the state counts them.
 * @example
 * const optimizer = skipNonFinite(chain(clipByGlobalNorm(1), adam({ learningRate: 1e-3 })));
 */
export const skipNonFinite = <P, S>(
  inner: GradientTransformation<P, S>,
): GradientTransformation<P, SkipState<S>> => ({
  init: (params) => ({ inner: inner.init(params), skipped: scalar(0, "int32") }),
  update: (gradients, { inner: memory, skipped }, params) => {
    const fine = treeLeaves(gradients)
      .map((g) => greater(allFinite(g), 0))
      .reduce(logicalAnd);
    const [updates, next] = inner.update(gradients, memory, params);
    return [
      treeMap((u) => where(fine, u, zerosLike(u)), updates),
      {
        inner: treeMap((after, before) => where(fine, after, before), next, memory),
        skipped: add(skipped, sub(1, cast(fine, "int32"))),
      },
    ];
  },
});
