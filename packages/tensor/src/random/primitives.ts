import { TensorError } from "../errors.ts";
import { alignRanks } from "../ops/broadcast.ts";
import { broadcastShapes } from "../shape.ts";
import { apply, type Primitive } from "../tensor.ts";
import type { DrawAttrs } from "./draw.ts";
import { randomWords, threefry } from "./threefry.ts";

const refuseKey = (): never => {
  throw new Error("random keys are worked out on the host before a graph runs");
};

/** Throws for a draw that the host can't make before the graph runs. */
export const refuseDraw = (): never => {
  throw new TensorError(
    "random",
    "a draw's key depends on values that are computed in the graph (such as a loop's state); pass keys made with random.split as the scanned sequence, or fold in a step number",
  );
};

/** New keys along a new last axis. */
export const splitPrimitive: Primitive<{ count: number }> = {
  name: "random.split",
  infer: ([key], { count }) => [{ shape: [...key!.shape, count], dtype: "key" }],
  batch: ([key], _, attrs) => [apply(splitPrimitive, [key!], attrs)],
  onHost: true,
  lower: refuseKey,
};

/** A key for each pair of a key and a whole number, broadcasting. */
export const foldPrimitive: Primitive<null> = {
  name: "random.fold",
  infer: ([key, data]) => [{ shape: broadcastShapes("random.fold", key!.shape, data!.shape), dtype: "key" }],
  batch: (inputs, batched) => [apply(foldPrimitive, alignRanks(inputs, batched), null)],
  onHost: true,
  lower: refuseKey,
};

export const drawPrimitive: Primitive<DrawAttrs> = {
  name: "random draw",
  infer: ([key], { shape, dtype }) => [{ shape: [...key!.shape, ...shape], dtype }],
  batch: ([key], _, attrs) => [apply(drawPrimitive, [key!], attrs)],
  onHost: true,
  lower: refuseDraw,
};

/** Splits each key. */
export function hostSplit(keys: Uint32Array, count: number): Uint32Array {
  const out = new Uint32Array(keys.length * count);
  for (let k = 0; k < keys.length / 2; k++)
    out.set(randomWords(keys[2 * k]!, keys[2 * k + 1]!, 2 * count, 1), 2 * count * k);
  return out;
}

/** Folds one number into one key. */
export function hostFold(k0: number, k1: number, data: number, out: Uint32Array, at: number): void {
  threefry(k0, k1, data, 2, out, at);
}
