import type { TypedArray } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { type Graph, reachable, requireConcrete } from "../graph.ts";
import { lowerGraph } from "../onnx/lower.ts";
import { hostEvaluate } from "../random/host.ts";
import { drawPrimitive } from "../random/primitives.ts";
import { concreteValue, constant, settle, type Tensor } from "../tensor.ts";
import { flatten } from "../tree.ts";
import { checkFinite, debugging } from "./debug.ts";
import { graphKey } from "./graph-key.ts";
import { Session } from "./runtime.ts";

interface Cached {
  readonly session: Session;
  /** Names of the inputs that stand for constants, in the order in which the graph holds them. */
  readonly constantNames: readonly string[];
  readonly drawNames: readonly string[];
  running: number;
  evicted: boolean;
}

const CACHE_SIZE = 128;
const cache = new Map<string, Promise<Cached>>();

/**
 * Computes all tensors of a tree together and returns it; they keep their values, and let go of the graph behind them.
 * @throws TensorError when one depends on an input of a function that is being traced.
 */
export async function evaluate<T>(tree: T): Promise<T> {
  const pending = [
    ...new Set(flatten("evaluate", tree).leaves.filter((t) => concreteValue(t) === undefined)),
  ];
  if (pending.length === 0) return tree;
  requireConcrete("evaluate", pending);
  const onHost = pending.filter((t) => t.dtype === "key" || t.node.primitive === drawPrimitive);
  for (const t of onHost) settle(t, hostValue(t));
  const rest = pending.filter((t) => concreteValue(t) === undefined);
  if (rest.length > 0) await run(rest);
  return tree;
}

/** The values of a tree's tensors, in order. */
export async function valuesOf(tree: unknown): Promise<TypedArray[]> {
  await evaluate(tree);
  return flatten("evaluate", tree).leaves.map((t) => concreteValue(t)!);
}

function hostValue(t: Tensor): TypedArray {
  const value = hostEvaluate(t);
  if (value === undefined)
    throw new TensorError(
      "random",
      `${t.toString()} depends on computed values; keys come from random.key, split and fold`,
    );
  return value;
}

async function run(outputs: readonly Tensor[]): Promise<void> {
  const nodes = reachable(outputs, (t) => t.node.primitive === drawPrimitive);
  const draws = [
    ...new Set(
      [...outputs, ...nodes.flatMap((n) => n.inputs)].filter((t) => t.node.primitive === drawPrimitive),
    ),
  ];
  const drawn = draws.map((t) => constant(hostValue(t), t.shape, t.dtype));
  const { key, constants } = graphKey({ params: draws, outputs });
  const cached = await compiled(key, { params: draws, outputs }, constants);
  const feeds: Record<string, Tensor> = {};
  cached.drawNames.forEach((name, i) => {
    feeds[name] = drawn[i]!;
  });
  cached.constantNames.forEach((name, i) => {
    if (name !== "") feeds[name] = constants[i]!;
  });
  cached.running++;
  try {
    const results = await cached.session.run(
      feeds,
      outputs.map((like, i) => ({ name: `o${i}`, like })),
    );
    if (debugging.nans) await checkFinite({ params: draws, outputs }, drawn, results);
    outputs.forEach((t, i) => {
      t.node = results[i]!.node;
      t.index = 0;
    });
  } finally {
    cached.running--;
    if (cached.evicted && cached.running === 0) void cached.session.release();
  }
}

async function compiled(key: string, graph: Graph, constants: readonly Tensor[]): Promise<Cached> {
  const found = cache.get(key);
  if (found !== undefined) {
    cache.delete(key);
    cache.set(key, found);
    return found;
  }
  const made = compile(graph, constants);
  cache.set(key, made);
  made.catch(() => cache.delete(key));
  if (cache.size > CACHE_SIZE) {
    const [oldestKey, oldest] = cache.entries().next().value!;
    cache.delete(oldestKey);
    const entry = await oldest;
    entry.evicted = true;
    if (entry.running === 0) void entry.session.release();
  }
  return made;
}

async function compile(graph: Graph, constants: readonly Tensor[]): Promise<Cached> {
  const lowered = lowerGraph(graph, { fedConstants: constants });
  const nameOf = new Map([...lowered.fed].map(([name, node]) => [node, name]));
  const session = await Session.create(lowered);
  return {
    session,
    constantNames: constants.map((t) => nameOf.get(t.node) ?? ""),
    drawNames: lowered.inputs,
    running: 0,
    evicted: false,
  };
}
