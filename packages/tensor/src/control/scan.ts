import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { closeOver, dependents, type Graph, substitute } from "../graph.ts";
import type { LowerContext } from "../onnx/lower.ts";
import { stackOf } from "../ops/broadcast.ts";
import { zeros, zerosLike } from "../ops/create.ts";
import { add } from "../ops/elementwise.ts";
import { moveAxis } from "../ops/shape.ts";
import { drawsOf } from "../random/host.ts";
import { range, sameShape } from "../shape.ts";
import {
  type Aval,
  applyAll,
  concreteValue,
  isPlaceholder,
  type Maybe,
  type Node,
  type Primitive,
  placeholder,
  type RuleContext,
  Tensor,
} from "../tensor.ts";
import { backward, forward, orZeros } from "../transforms/backward.ts";
import { batchGraph } from "../transforms/vmap.ts";
import { flatten, type TreeShape } from "../tree.ts";

/**
 * The body's parameters are the captured values, the carry and one slice of each sequence; its outputs the new carry
 * and what is stacked. The node's inputs and outputs follow the same order.
 */
interface ScanAttrs {
  readonly body: Graph;
  readonly captured: number;
  readonly carried: number;
  readonly length: number;
  readonly reverse: boolean;
  /** Keep only the states for the reverse pass, and compute the rest again there. */
  readonly checkpoint: boolean;
}

const stackedAval = (t: Aval, length: number): Aval => ({ shape: [length, ...t.shape], dtype: t.dtype });
const sliceAval = (t: Aval): Aval => ({ shape: t.shape.slice(1), dtype: t.dtype });

const scanPrimitive: Primitive<ScanAttrs> = {
  name: "scan",
  infer: (_, { body, carried, length }) =>
    body.outputs.map((t, i) => (i < carried ? t : stackedAval(t, length))),
  vjp: scanVjp,
  jvp: scanJvp,
  batch: scanBatch,
  lower: lowerScan,
};

/**
 * Cuts the reverse pass of a body where its forward values are cheapest to keep: values that the reverse pass reads,
 * seen through reshapes and the like.
 */
function residualsOf(
  gradients: readonly Tensor[],
  cotangents: ReadonlySet<Tensor>,
  { body, captured, checkpoint }: ScanAttrs,
): Tensor[] {
  const reverseNodes = new Set(dependents(gradients, cotangents));
  const inReverse = new Set<Tensor>(cotangents);
  for (const node of reverseNodes) for (const t of node.outputs) inReverse.add(t);
  const outside = new Set(body.params.slice(0, captured));
  const varying = new Set<Tensor>(body.params.slice(captured));
  for (const node of dependents(
    [...reverseNodes].flatMap((n) => n.inputs),
    varying,
  ))
    for (const t of node.outputs) varying.add(t);
  const residuals = new Set<Tensor>();
  const keep = (t: Tensor): void => {
    if (inReverse.has(t) || outside.has(t) || concreteValue(t) !== undefined || !varying.has(t)) return;
    if (checkpoint ? !isPlaceholder(t) : CHEAP.has(t.node.primitive.name))
      for (const input of t.node.inputs) keep(input);
    else residuals.add(t);
  };
  for (const node of reverseNodes) node.inputs.forEach(keep);
  gradients.forEach(keep);
  return [...residuals];
}

const CHEAP = new Set([
  "reshape",
  "transpose",
  "broadcastTo",
  "identity",
  "cast",
  "neg",
  "sign",
  "equal",
  "greater",
  "less",
]);

/** Stacks of values of a scan's body, made by the scan itself from now on; a slice's stack is there already. */
function stackedOf(node: Node, values: readonly Tensor[]): Tensor[] {
  const attrs = node.attrs as ScanAttrs;
  const { outputs, params } = attrs.body;
  const first = attrs.captured + attrs.carried;
  const added = values.filter((t) => params.indexOf(t) < first && !outputs.slice(attrs.carried).includes(t));
  const all = [...outputs, ...added];
  node.attrs = { ...attrs, body: { ...attrs.body, outputs: all } };
  for (const t of added) {
    const aval = stackedAval(t, attrs.length);
    node.outputs.push(new Tensor(node, node.outputs.length, aval.shape, aval.dtype));
  }
  return values.map((t) => {
    const at = params.indexOf(t);
    return at >= first ? node.inputs[at]! : node.outputs[all.indexOf(t, attrs.carried)]!;
  });
}

function scanVjp(
  { inputs, attrs, node }: RuleContext<ScanAttrs>,
  cts: readonly Maybe<Tensor>[],
  needed: readonly boolean[],
): Maybe<Tensor>[] {
  const { body, captured, carried, length, reverse } = attrs;
  // The carry is differentiable wherever it is a float, whether or not its first value is needed.
  const wrt = body.params.map(
    (p, i) => isFloat(p.dtype) && (needed[i] || (i >= captured && i < captured + carried)),
  );
  const ctPlaceholders = body.outputs.map((t) => (isFloat(t.dtype) ? placeholder(t, "scan") : undefined));
  const present = ctPlaceholders.map((p, i) => (i < carried || cts[i] ? p : undefined));
  const found = backward(
    body.outputs,
    present,
    body.params.filter((_, i) => wrt[i]),
  );
  const byParam = new Map(body.params.filter((_, i) => wrt[i]).map((p, i) => [p, found[i]]));
  const gradientOf = (i: number): Tensor => byParam.get(body.params[i]!) ?? zerosLike(body.params[i]!);

  const carryAt = range(carried, captured).filter((i) => isFloat(body.params[i]!.dtype));
  const sumAt = range(captured).filter((i) => wrt[i] && byParam.get(body.params[i]!));
  const stackAt = range(body.params.length - captured - carried, captured + carried).filter((i) => wrt[i]);
  const gradients = [...carryAt, ...sumAt, ...stackAt].map(gradientOf);
  const residuals = residualsOf(gradients, new Set(present.filter((p) => p !== undefined)), attrs);
  const stackedResiduals = stackedOf(node, residuals);

  const ctCarry = carryAt.map((i) => cts[i - captured] ?? zerosLike(body.params[i]!));
  const sums = sumAt.map((i) => zerosLike(body.params[i]!));
  const ctStackedAt = range(body.outputs.length - carried, carried).filter((i) => present[i]);
  const outputs = rawScan(
    [...ctCarry, ...sums],
    [...ctStackedAt.map((i) => cts[i]!), ...stackedResiduals],
    length,
    !reverse,
    (carry, slices) => {
      const bindings = new Map<Tensor, Tensor>();
      carryAt.forEach((i, j) => {
        bindings.set(present[i - captured]!, carry[j]!);
      });
      ctStackedAt.forEach((i, j) => {
        bindings.set(present[i]!, slices[j]!);
      });
      residuals.forEach((t, j) => {
        bindings.set(t, slices[ctStackedAt.length + j]!);
      });
      range(captured).forEach((i) => {
        bindings.set(body.params[i]!, inputs[i]!);
      });
      const values = substitute(gradients, bindings);
      const newSums = sumAt.map((_, j) => add(carry[carryAt.length + j]!, values[carryAt.length + j]!));
      const ctNext = values.slice(0, carryAt.length);
      return { carry: [...ctNext, ...newSums], stacked: values.slice(carryAt.length + sumAt.length) };
    },
  );
  const place = new Map([...carryAt, ...sumAt, ...stackAt].map((i, j) => [i, j]));
  return inputs.map((_, i) => (needed[i] && place.has(i) ? outputs[place.get(i)!] : undefined));
}

function scanJvp(
  { inputs, attrs, node }: RuleContext<ScanAttrs>,
  tangents: readonly Maybe<Tensor>[],
): Maybe<Tensor>[] {
  const { body, captured, carried, length, reverse } = attrs;
  const count = node.outputs.length;
  const active = body.params.map(
    (p, i) => isFloat(p.dtype) && (tangents[i] !== undefined || (i >= captured && i < captured + carried)),
  );
  const carryAt = range(carried, captured).filter((i) => active[i]);
  const sliceAt = range(body.params.length - captured - carried, captured + carried).filter((i) => active[i]);
  const plain = inputs.slice(captured, captured + carried);
  const sequences = inputs.slice(captured + carried);
  const stackedFloat = range(count - carried, carried).filter((i) => isFloat(node.outputs[i]!.dtype));
  const outputs = rawScan(
    [...plain, ...carryAt.map((i) => tangents[i] ?? zerosLike(inputs[i]!))],
    [...sequences, ...sliceAt.map((i) => tangents[i]!)],
    length,
    reverse,
    (carry, slices) => {
      const args = [
        ...inputs.slice(0, captured),
        ...carry.slice(0, carried),
        ...slices.slice(0, sequences.length),
      ];
      const directions = body.params.map((_, i) => {
        if (!active[i]) return undefined;
        if (i < captured) return tangents[i];
        if (i < captured + carried) return carry[carried + carryAt.indexOf(i)];
        return slices[sequences.length + sliceAt.indexOf(i)];
      });
      const moved = orZeros(forward(body.outputs, body.params, directions), body.outputs);
      const bound = substitute(
        [...body.outputs.slice(0, carried), ...moved],
        new Map(body.params.map((p, i) => [p, args[i]!])),
      );
      return {
        carry: [...bound.slice(0, carried), ...carryAt.map((i) => bound[carried + i - captured]!)],
        stacked: stackedFloat.map((i) => bound[carried + i]!),
      };
    },
    attrs.checkpoint,
  );
  return node.outputs.map((t, i) => {
    if (!isFloat(t.dtype)) return undefined;
    if (i < carried) return outputs[carried + carryAt.indexOf(i + captured)];
    return outputs[carried + carryAt.length + stackedFloat.indexOf(i)];
  });
}

function scanBatch(
  inputs: readonly Tensor[],
  batched: readonly boolean[],
  attrs: ScanAttrs,
  size: number,
): Tensor[] {
  const { body, captured, carried, length, reverse } = attrs;
  const flags = [...batched];
  const stacks = (params: readonly Tensor[], values: readonly Tensor[]): Map<Tensor, Tensor> =>
    new Map(params.flatMap((p, i) => (flags[i] ? [[p, values[i]!] as const] : [])));
  // A carry becomes a stack as soon as the body makes it one, so flags only grow.
  for (let changed = true; changed; ) {
    const trial = stacks(
      body.params,
      body.params.map((p, i) =>
        flags[i] ? placeholder({ shape: [size, ...p.shape], dtype: p.dtype }, "vmap") : p,
      ),
    );
    const result = batchGraph(body.outputs, trial, size).batched;
    changed = false;
    for (let i = 0; i < carried; i++)
      if (result[i] && !flags[captured + i]) flags[captured + i] = changed = true;
  }
  const init = range(carried, captured).map((i) =>
    flags[i] && !batched[i] ? stackOf(inputs[i]!, false, size) : inputs[i]!,
  );
  const sequences = inputs
    .slice(captured + carried)
    .map((t, i) => (batched[captured + carried + i] ? moveAxis(t, 0, 1) : t));
  const outputs = rawScan(
    init,
    sequences,
    length,
    reverse,
    (carry, slices) => {
      const args = [...inputs.slice(0, captured), ...carry, ...slices];
      const plain = new Map(body.params.flatMap((p, i) => (flags[i] ? [] : [[p, args[i]!] as const])));
      const { results, batched: out } = batchGraph(body.outputs, stacks(body.params, args), size);
      const bound = substitute(results, plain);
      return {
        carry: range(carried).map((i) =>
          flags[captured + i] ? stackOf(bound[i]!, out[i]!, size) : bound[i]!,
        ),
        stacked: bound.slice(carried).map((t, i) => stackOf(t, out[carried + i]!, size)),
      };
    },
    attrs.checkpoint,
  );
  return outputs.map((t, i) => {
    if (i >= carried) return moveAxis(t, 1, 0);
    return flags[captured + i] ? t : stackOf(t, false, size);
  });
}

function lowerScan(ctx: LowerContext, names: readonly string[], node: Node): readonly string[] {
  const { body, captured, carried, length, reverse } = node.attrs as ScanAttrs;
  const bound = new Map(body.params.slice(0, captured).map((p, i) => [p, names[i]!]));
  const formals = body.params.slice(captured).map((tensor) => ({ tensor }));
  const sequences = [...names.slice(captured + carried)];
  if (sequences.length === 0) {
    // ONNX's Scan counts its steps by a sequence.
    sequences.push(ctx.array(new Int32Array(length), [length], "int32"));
    formals.push({ tensor: placeholder({ shape: [], dtype: "int32" }, "scan") });
  }
  const { graph, uses } = ctx.body(formals, bound, body.outputs);
  const stacked = body.outputs.length - carried;
  const direction = reverse ? 1 : 0;
  return ctx.emitAll(
    "Scan",
    [...names.slice(captured, captured + carried), ...sequences],
    body.outputs.length,
    {
      body: { graph },
      num_scan_inputs: sequences.length,
      scan_input_directions: sequences.map(() => direction),
      ...(stacked > 0 ? { scan_output_directions: range(stacked).map(() => direction) } : {}),
    },
    uses,
  );
}

interface StepResult {
  readonly carry: readonly Tensor[];
  readonly stacked: readonly Tensor[];
}

/** `scan` over lists of tensors. */
function rawScan(
  init: readonly Tensor[],
  sequences: readonly Tensor[],
  length: number,
  reverse: boolean,
  step: (carry: readonly Tensor[], slices: readonly Tensor[]) => StepResult,
  checkpoint = false,
): readonly Tensor[] {
  const params = [...init, ...sequences.map(sliceAval)].map((aval) => placeholder(aval, "scan"));
  const { carry, stacked } = step(params.slice(0, init.length), params.slice(init.length));
  init.forEach((t, i) => {
    if (!sameShape(t.shape, carry[i]!.shape) || t.dtype !== carry[i]!.dtype)
      throw new TensorError("scan", `the state changes from ${t.toString()} to ${carry[i]!.toString()}`);
  });
  const hoisted = hoistDraws([...carry, ...stacked], params, init.length, sequences, length);
  const { graph, captured } = closeOver(hoisted.params, hoisted.outputs, "scan");
  if (length === 0)
    return graph.outputs.map((t, i) => (i < init.length ? init[i]! : zeros([0, ...t.shape], t.dtype)));
  return applyAll(scanPrimitive, [...captured, ...init, ...hoisted.sequences], {
    body: graph,
    captured: captured.length,
    carried: init.length,
    length,
    reverse,
    checkpoint,
  });
}

/** Draws of a body are made for all steps before the loop: keys stay on the host, and the loop scans the numbers. */
function hoistDraws(
  outputs: readonly Tensor[],
  params: readonly Tensor[],
  carried: number,
  sequences: readonly Tensor[],
  length: number,
): { outputs: Tensor[]; params: Tensor[]; sequences: Tensor[] } {
  if (params.slice(0, carried).some((p) => p.dtype === "key"))
    throw new TensorError("scan", "the state holds a random key; scan over random.split(key, steps) instead");
  const slices = new Map(sequences.map((sequence, i) => [params[carried + i]!, sequence]));
  const inside = new Set(dependents(outputs, new Set(params)));
  const draws = drawsOf(outputs).filter((t) => inside.has(t.node));
  const { results, batched } = batchGraph(draws, slices, length);
  const bindings = new Map<Tensor, Tensor>();
  const drawn: Tensor[] = [];
  draws.forEach((t, i) => {
    if (!batched[i] || dependents([results[i]!], new Set(params)).length > 0)
      throw new TensorError(
        "scan",
        "a random draw's key depends on the state; scan over random.split(key, steps) instead",
      );
    bindings.set(t, placeholder(t, "scan"));
    drawn.push(results[i]!);
  });
  const kept = sequences.flatMap((sequence, i) => (sequence.dtype === "key" ? [] : [i]));
  return {
    outputs: substitute(outputs, bindings),
    params: [...params.slice(0, carried), ...kept.map((i) => params[carried + i]!), ...bindings.values()],
    sequences: [...kept.map((i) => sequences[i]!), ...drawn],
  };
}

export interface ScanOptions {
  /** Number of steps, where there is no sequence to tell it. */
  readonly length?: number;
  /** From the last slice to the first; stacked results keep the slices' positions. */
  readonly reverse?: boolean;
  /** In derivatives, keep only the states and compute the rest again: less memory, more work. */
  readonly checkpoint?: boolean;
}

/**
 * Runs `f(state, slice) → [state, result]` over the slices of `xs` along axis 0, all in one loop of the compiled model;
 * returns the last state and the results stacked. Differentiable, and the fast way to train for many steps.
 * @throws TensorError when the state changes shape or dtype, or slices differ in number.
 */
export function scan<S, X, Y>(
  f: (state: S, slice: X) => readonly [S, Y],
  init: S,
  xs: X,
  { length, reverse = false, checkpoint = false }: ScanOptions = {},
): [S, Y] {
  const state = flatten("scan", init);
  const sequence = flatten("scan", xs);
  const steps = length ?? sequence.leaves[0]?.shape[0];
  if (steps === undefined || !Number.isInteger(steps) || steps < 0)
    throw new TensorError("scan", "needs a sequence or a length");
  sequence.leaves.forEach((t, i) => {
    if (t.shape[0] !== steps)
      throw new TensorError(
        "scan",
        `${sequence.shape.paths[i]} is ${t.toString()}; its first axis should be ${steps}`,
      );
  });
  let resultShape: TreeShape | undefined;
  const outputs = rawScan(
    state.leaves,
    sequence.leaves,
    steps,
    reverse,
    (carry, slices) => {
      const [next, result] = f(state.shape.build(carry) as S, sequence.shape.build(slices) as X);
      const after = flatten("scan", next);
      if (after.shape.id !== state.shape.id)
        throw new TensorError(
          "scan",
          `the state's structure changes: ${state.shape.id} became ${after.shape.id}`,
        );
      const flat = flatten("scan", result);
      resultShape = flat.shape;
      return { carry: after.leaves, stacked: flat.leaves };
    },
    checkpoint,
  );
  const n = state.leaves.length;
  return [state.shape.build(outputs.slice(0, n)) as S, resultShape!.build(outputs.slice(n)) as Y];
}
