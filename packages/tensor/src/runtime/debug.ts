import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { type Graph, reachable } from "../graph.ts";
import { lowerGraph } from "../onnx/lower.ts";
import { concreteValue, constantPrimitive, isPlaceholder, recordSites, type Tensor } from "../tensor.ts";
import { Session } from "./runtime.ts";

export const debugging = { nans: false };

/**
 * Switches NaN checking on or off. While it is on, a computation whose result holds a NaN throws an error that names
 * the operation which first made one and the source line that asked for it.
 */
export function debugNans(on: boolean): void {
  debugging.nans = on;
  recordSites.on = on;
}

const hasNaN = (t: Tensor): boolean =>
  isFloat(t.dtype) && (concreteValue(t) as Float32Array).some(Number.isNaN);

/** Throws, naming the first operation that made a NaN out of inputs without any, if a result holds one. */
export async function checkFinite(
  graph: Graph,
  args: readonly Tensor[],
  results: readonly Tensor[],
): Promise<void> {
  if (!results.some(hasNaN)) return;
  const params = new Set(graph.params);
  const inner = reachable(graph.outputs, (t) => params.has(t)).flatMap((node) =>
    node.primitive === constantPrimitive || isPlaceholder(node.outputs[0]!) ? [] : node.outputs,
  );
  const floats = inner.filter((t) => isFloat(t.dtype));
  const lowered = lowerGraph({ params: graph.params, outputs: floats });
  const session = await Session.create(lowered);
  const { inputs, fed } = lowered;
  const feeds: Record<string, Tensor> = Object.fromEntries(
    [...fed].map(([name, node]) => [name, node.outputs[0]!]),
  );
  inputs.forEach((name, i) => {
    feeds[name] = args[i]!;
  });
  const values = await session.run(
    feeds,
    floats.map((like, i) => ({ name: `o${i}`, like })),
  );
  await session.release();
  const first = values.findIndex(hasNaN);
  if (first < 0) return;
  const { node, shape } = floats[first]!;
  throw new TensorError(
    node.primitive.name,
    `made the first NaN, in a result of shape [${shape.join(", ")}]`,
    node.site,
  );
}
