import { TensorError } from "../errors.ts";
import { lowerGraph } from "../onnx/lower.ts";
import type { TreeShape } from "../tree.ts";
import type { JitFunction, Traced } from "./jit.ts";

/** `a.b[0]` of a tree under a root name: `input1.a.b[0]`. */
const named = (root: string, path: string): string =>
  path === "" || path.startsWith("[") ? `${root}${path}` : `${root}.${path}`;

const outputNames = (shape: TreeShape): string[] => shape.paths.map((path) => named("output", path));

/** Arguments are a tuple: `[1].w` is `w` of the second one. */
const inputNames = (shape: TreeShape): string[] =>
  shape.paths.map((path) => path.replace(/^\[(\d+)\]/, "input$1"));

/**
 * The model file (ONNX, standard operators only) of a jitted function, which other runtimes compute to the same
 * numbers. Inputs are named `input0`, `input1.weights`, … after the arguments and where their tensors are in them,
 * outputs `output`, `output.loss`, … Random draws become inputs `random0`, … that take the place of keys.
 * @param args Example arguments, for their shapes; by default those of the last call.
 * @throws TensorError when the function was never called and no arguments are given.
 */
// biome-ignore lint/suspicious/noExplicitAny: any jitted function.
export function toOnnx<F extends (...args: any[]) => any>(
  jitted: JitFunction<F>,
  ...args: Parameters<F> | []
): Uint8Array {
  const traced: Traced | undefined =
    args.length > 0 ? jitted.trace(...(args as Parameters<F>)) : jitted.lastTrace;
  if (traced === undefined)
    throw new TensorError("toOnnx", "the function was not called yet; call it, or give example arguments");
  const { graph, argCount } = traced;
  const names = [...inputNames(traced.inputs), ...graph.params.slice(argCount).map((_, i) => `random${i}`)];
  const kept = graph.params.flatMap((t, i) => (t.dtype === "key" ? [] : [i]));
  const params = kept.map((i) => graph.params[i]!);
  return lowerGraph(
    { params, outputs: graph.outputs },
    { inputNames: kept.map((i) => names[i]!), outputNames: outputNames(traced.outputs) },
  ).model;
}
