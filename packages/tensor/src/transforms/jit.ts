import { isFloat, type TypedArray } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { type Graph, requireConcrete } from "../graph.ts";
import { lowerGraph } from "../onnx/lower.ts";
import { drawsOf, hostEvaluate, isHostKnown } from "../random/host.ts";
import { refuseDraw } from "../random/primitives.ts";
import { checkFinite, debugging } from "../runtime/debug.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { Session, type SessionOptions } from "../runtime/runtime.ts";
import { concreteValue, constant, placeholder, type Tensor } from "../tensor.ts";
import { flatten, type TreeShape } from "../tree.ts";

export type JitOptions = SessionOptions;

// biome-ignore lint/suspicious/noExplicitAny: any function over trees; argument and result types are inferred.
type TreeFunction = (...args: any[]) => any;

/** A function traced over placeholders for its arguments' tensors. */
export interface Traced {
  /** Parameters are the arguments' tensors, then the random draws that the host fills. */
  readonly graph: Graph;
  readonly argCount: number;
  readonly inputs: TreeShape;
  readonly outputs: TreeShape;
}

/** A compiled function: its arguments' tensors in, computed tensors out. */
export interface JitFunction<F extends TreeFunction> {
  (...args: Parameters<F>): Promise<Awaited<ReturnType<F>>>;
  /** The function that was given, to be called inside other traced functions. */
  readonly original: F;
  /** Traces for arguments of these shapes, without compiling. */
  trace(...args: Parameters<F>): Traced;
  /** The trace that was compiled last. */
  readonly lastTrace: Traced | undefined;
  /** Frees the compiled models. */
  release(): Promise<void>;
}

const signature = (leaves: readonly Tensor[]): string =>
  leaves.map((t) => `${t.dtype}[${t.shape.join()}]`).join(";");

function traceFunction(f: TreeFunction, leaves: readonly Tensor[], inputs: TreeShape): Traced {
  const params = leaves.map((t) => placeholder(t, "jit"));
  const result = f(...(inputs.build(params) as unknown[]));
  if (result instanceof Promise)
    throw new TensorError(
      "jit",
      "the function is asynchronous; a traced function returns its tensors directly",
    );
  const outputs = flatten("jit", result);
  requireConcrete("jit", outputs.leaves, new Set(params));
  const draws = drawsOf(outputs.leaves);
  const known = new Set(params);
  if (!draws.every((t) => isHostKnown(t, known))) refuseDraw();
  return {
    graph: { params: [...params, ...draws], outputs: outputs.leaves },
    argCount: params.length,
    inputs,
    outputs: outputs.shape,
  };
}

interface Compiled {
  readonly traced: Traced;
  readonly session: Session | undefined;
  /** Names of the model's inputs, by position among the graph's parameters ("" for what stays on the host). */
  readonly feedNames: readonly string[];
  /** For each result: its position among the model's outputs, or -1 where it needs no computation. */
  readonly places: readonly number[];
  readonly computed: readonly { name: string; like: Tensor }[];
}

async function compile(traced: Traced, options: JitOptions): Promise<Compiled> {
  const { params, outputs } = traced.graph;
  const given = new Set(params);
  const distinct = [
    ...new Set(outputs.filter((t) => !given.has(t) && concreteValue(t) === undefined && t.dtype !== "key")),
  ];
  const feeds = params.filter((t) => t.dtype !== "key");
  const names = new Map(feeds.map((t, i) => [t, `i${i}`]));
  const session =
    distinct.length === 0
      ? undefined
      : await Session.create(lowerGraph({ params: feeds, outputs: distinct }), options);
  return {
    traced,
    session,
    feedNames: params.map((t) => names.get(t) ?? ""),
    places: outputs.map((t) => distinct.indexOf(t)),
    computed: distinct.map((like, i) => ({ name: `o${i}`, like })),
  };
}

async function runCompiled(compiled: Compiled, leaves: readonly Tensor[]): Promise<unknown> {
  const { graph, argCount, outputs } = compiled.traced;
  const given = new Map<Tensor, TypedArray>();
  const values = new Map<Tensor, Tensor>();
  for (let i = 0; i < argCount; i++) {
    const param = graph.params[i]!;
    values.set(param, leaves[i]!);
    if (!isFloat(param.dtype)) given.set(param, concreteValue(leaves[i]!)!);
  }
  for (const t of graph.params.slice(argCount))
    values.set(t, constant(hostEvaluate(t, given)!, t.shape, t.dtype));
  const feeds: Record<string, Tensor> = {};
  compiled.feedNames.forEach((name, i) => {
    if (name !== "") feeds[name] = values.get(graph.params[i]!)!;
  });
  const results = compiled.session ? await compiled.session.run(feeds, compiled.computed) : [];
  if (debugging.nans && compiled.session) {
    const params = graph.params.filter((t) => t.dtype !== "key");
    const computed = { params, outputs: compiled.computed.map((c) => c.like) };
    await checkFinite(
      computed,
      params.map((t) => values.get(t)!),
      results,
    );
  }
  return outputs.build(
    graph.outputs.map((t, i) => {
      const place = compiled.places[i]!;
      if (place >= 0) return results[place]!;
      if (t.dtype === "key" && concreteValue(t) === undefined && !values.has(t))
        return constant(hostEvaluate(t, given)!, t.shape, "key");
      return values.get(t) ?? t;
    }),
  );
}

/**
 * Compiles `f` into one model for each structure, shapes and dtypes of its arguments (other leaves than tensors are
 * static: each value compiles anew). The result is a promise of computed tensors.
 * @throws TensorError where `f` misuses a traced value, at the caller's line.
 * @example
 * const step = jit((params: Params, x: Tensor) => treeMap((p) => mul(p, 0.9), params));
 * params = await step(params, x);
 */
export function jit<F extends TreeFunction>(f: F, options: JitOptions = {}): JitFunction<F> {
  const cache = new Map<string, Promise<Compiled>>();
  let lastTrace: Traced | undefined;
  const run = async (...args: Parameters<F>): Promise<Awaited<ReturnType<F>>> => {
    const { leaves, shape } = flatten("jit", args);
    const key = `${shape.id}|${signature(leaves)}`;
    let compiled = cache.get(key);
    if (compiled === undefined) {
      requireConcrete("jit", leaves);
      lastTrace = traceFunction(f, leaves, shape);
      compiled = compile(lastTrace, options);
      cache.set(key, compiled);
      compiled.catch(() => cache.delete(key));
    }
    if (leaves.some((t) => concreteValue(t) === undefined)) await evaluate(leaves);
    return runCompiled(await compiled, leaves) as Promise<Awaited<ReturnType<F>>>;
  };
  const methods = {
    original: f,
    trace: (...args: Parameters<F>) => {
      const { leaves, shape } = flatten("jit", args);
      return traceFunction(f, leaves, shape);
    },
    release: async () => {
      const sessions = [...cache.values()];
      cache.clear();
      for (const compiled of sessions) await (await compiled).session?.release();
    },
  };
  const jitted = Object.assign(run, methods);
  return Object.defineProperty(jitted, "lastTrace", { get: () => lastTrace }) as JitFunction<F>;
}
