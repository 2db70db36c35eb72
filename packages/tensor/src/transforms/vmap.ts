import { TensorError } from "../errors.ts";
import { dependents } from "../graph.ts";
import { broadcastTo, moveAxis } from "../ops/shape.ts";
import { showShape } from "../shape.ts";
import { placeholder, type Tensor } from "../tensor.ts";
import { flatten } from "../tree.ts";

/**
 * `outputs` with `bindings`' tensors replaced by stacks of `size` (batch axis first): each result is a stack too,
 * where it depends on one, as `batched` tells.
 */
export function batchGraph(
  outputs: readonly Tensor[],
  bindings: ReadonlyMap<Tensor, Tensor>,
  size: number,
): { results: Tensor[]; batched: boolean[] } {
  const env = new Map(bindings);
  for (const node of dependents(outputs, new Set(bindings.keys()))) {
    const flags = node.inputs.map((t) => env.has(t));
    const inputs = node.inputs.map((t) => env.get(t) ?? t);
    if (!node.primitive.batch) throw new TensorError(node.primitive.name, "can't be batched by vmap");
    const results = node.primitive.batch(inputs, flags, node.attrs, size);
    node.outputs.forEach((t, i) => {
      const result = results[i];
      if (result === undefined) return;
      if (result.shape[0] !== size || result.rank !== t.rank + 1)
        throw new TensorError(
          node.primitive.name,
          `its batching rule made ${result.toString()} of ${t.toString()}`,
        );
      env.set(t, result);
    });
  }
  return { results: outputs.map((t) => env.get(t) ?? t), batched: outputs.map((t) => env.has(t)) };
}

export interface VmapOptions {
  /** The mapped axis of each argument's tensors; `null` for an argument that all calls share. All 0 by default. */
  readonly inAxes?: readonly (number | null)[];
  /** Where the mapped axis goes in the results. */
  readonly outAxis?: number;
}

/**
 * `f` applied to each slice of its arguments, as one batched computation.
 * @throws TensorError when the mapped axes differ in size.
 */
// biome-ignore lint/suspicious/noExplicitAny: any function over trees; argument and result types are inferred.
export function vmap<F extends (...args: any[]) => any>(
  f: F,
  { inAxes, outAxis = 0 }: VmapOptions = {},
): (...args: Parameters<F>) => ReturnType<F> {
  return (...args) => {
    let size: number | undefined;
    const bindings = new Map<Tensor, Tensor>();
    const mapped = args.map((arg, i) => {
      const axis = inAxes === undefined ? 0 : (inAxes[i] ?? null);
      const { leaves, shape } = flatten("vmap", arg);
      if (axis === null) return arg;
      return shape.build(
        leaves.map((t, j) => {
          if (t.rank === 0)
            throw new TensorError("vmap", `argument ${i} ${shape.paths[j]} has no axis ${axis} to map over`);
          const stacked = moveAxis(t, axis, 0);
          size ??= stacked.shape[0]!;
          if (stacked.shape[0] !== size)
            throw new TensorError(
              "vmap",
              `mapped sizes differ: ${size} and ${stacked.shape[0]} of ${showShape(t.shape)}`,
            );
          const p = placeholder({ shape: stacked.shape.slice(1), dtype: t.dtype }, "vmap");
          bindings.set(p, stacked);
          return p;
        }),
      );
    });
    if (size === undefined) throw new TensorError("vmap", "no argument is mapped");
    const { leaves, shape } = flatten("vmap", f(...mapped));
    const { results, batched } = batchGraph(leaves, bindings, size);
    return shape.build(
      results.map((t, i) => {
        const stacked = batched[i] ? t : broadcastTo(t, [size!, ...t.shape]);
        return outAxis === 0 ? stacked : moveAxis(stacked, 0, outAxis);
      }),
    ) as ReturnType<F>;
  };
}
