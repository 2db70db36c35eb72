import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { closeOver, type Graph, substitute } from "../graph.ts";
import type { LowerContext } from "../onnx/lower.ts";
import { stackOf } from "../ops/broadcast.ts";
import { where } from "../ops/compare.ts";
import { zerosLike } from "../ops/create.ts";
import { any } from "../ops/reduce.ts";
import { reshape } from "../ops/shape.ts";
import { range, sameShape } from "../shape.ts";
import {
  type Aval,
  applyAll,
  type Maybe,
  type Node,
  type Primitive,
  placeholder,
  type RuleContext,
  type Tensor,
} from "../tensor.ts";
import { forward } from "../transforms/backward.ts";
import { batchGraph } from "../transforms/vmap.ts";
import { flatten } from "../tree.ts";

/** Both graphs take their captured values, then the state; the node's inputs are both captures and the state. */
interface WhileAttrs {
  readonly test: Graph;
  readonly body: Graph;
  readonly testCaptured: number;
  readonly bodyCaptured: number;
}

const whilePrimitive: Primitive<WhileAttrs> = {
  name: "whileLoop",
  infer: (_, { body }) => body.outputs.map((t): Aval => t),
  vjp: () => {
    throw new TensorError(
      "whileLoop",
      "has no reverse-mode derivative, since its number of steps is not known; use scan, or forward mode (jvp)",
    );
  },
  jvp: whileJvp,
  batch: whileBatch,
  lower: lowerWhile,
};

function inputsOf(inputs: readonly Tensor[], { testCaptured, bodyCaptured }: WhileAttrs) {
  return {
    test: inputs.slice(0, testCaptured),
    body: inputs.slice(testCaptured, testCaptured + bodyCaptured),
    state: inputs.slice(testCaptured + bodyCaptured),
  };
}

const bind = (graph: Graph, captured: readonly Tensor[], state: readonly Tensor[]): Map<Tensor, Tensor> =>
  new Map(graph.params.map((p, i) => [p, [...captured, ...state][i]!]));

function whileJvp(
  { inputs, attrs, outputs }: RuleContext<WhileAttrs>,
  tangents: readonly Maybe<Tensor>[],
): Maybe<Tensor>[] {
  const { test, body } = attrs;
  const given = inputsOf(inputs, attrs);
  const n = given.state.length;
  const from = attrs.testCaptured + attrs.bodyCaptured;
  const active = range(n).filter((i) => isFloat(given.state[i]!.dtype));
  const results = rawWhile(
    [...given.state, ...active.map((i) => tangents[from + i] ?? zerosLike(given.state[i]!))],
    (state) => substitute(test.outputs, bind(test, given.test, state.slice(0, n)))[0]!,
    (state) => {
      const directions = body.params.map((_, i) => {
        if (i < attrs.bodyCaptured) return tangents[attrs.testCaptured + i];
        const at = active.indexOf(i - attrs.bodyCaptured);
        return at < 0 ? undefined : state[n + at];
      });
      const moved = forward(body.outputs, body.params, directions);
      const next = active.map((i) => moved[i] ?? zerosLike(body.outputs[i]!));
      return substitute([...body.outputs, ...next], bind(body, given.body, state.slice(0, n)));
    },
  );
  return outputs.map((_, i) => (active.includes(i) ? results[n + active.indexOf(i)] : undefined));
}

function whileBatch(
  inputs: readonly Tensor[],
  batched: readonly boolean[],
  attrs: WhileAttrs,
  size: number,
): Tensor[] {
  const { test, body, testCaptured, bodyCaptured } = attrs;
  const given = inputsOf(inputs, attrs);
  // Loops of different lengths run together: every state is a stack, and finished ones stay as they are.
  const state = given.state.map((t, i) => stackOf(t, batched[testCaptured + bodyCaptured + i]!, size));
  const apply = (
    graph: Graph,
    captured: readonly Tensor[],
    flags: readonly boolean[],
    now: readonly Tensor[],
  ): Tensor[] => {
    const values = [...captured, ...now];
    const isStack = (i: number): boolean => i >= captured.length || flags[i]!;
    const entries = graph.params.map((p, i) => [p, values[i]!] as const);
    const { results, batched: out } = batchGraph(
      graph.outputs,
      new Map(entries.filter((_, i) => isStack(i))),
      size,
    );
    const bound = substitute(results, new Map(entries.filter((_, i) => !isStack(i))));
    return bound.map((t, i) => stackOf(t, out[i]!, size));
  };
  const running = (now: readonly Tensor[]): Tensor =>
    apply(test, given.test, batched.slice(0, testCaptured), now)[0]!;
  return rawWhile(
    state,
    (now) => any(running(now)),
    (now) => {
      const live = running(now);
      const flags = batched.slice(testCaptured, testCaptured + bodyCaptured);
      return apply(body, given.body, flags, now).map((t, i) =>
        where(reshape(live, [size, ...new Array<number>(t.rank - 1).fill(1)]), t, now[i]!),
      );
    },
  );
}

function lowerWhile(ctx: LowerContext, names: readonly string[], node: Node): readonly string[] {
  const { test, body, testCaptured, bodyCaptured } = node.attrs as WhileAttrs;
  const state = body.params.slice(bodyCaptured);
  const initial = names.slice(testCaptured + bodyCaptured);
  const evaluateTest = (values: readonly Tensor[]): Tensor =>
    substitute(test.outputs, new Map(test.params.slice(testCaptured).map((p, i) => [p, values[i]!])))[0]!;
  const testBound = test.params.slice(0, testCaptured).map((p, i) => [p, names[i]!] as const);
  const bodyBound = body.params.slice(0, bodyCaptured).map((p, i) => [p, names[testCaptured + i]!] as const);
  const bound = new Map([...testBound, ...bodyBound]);
  // The first test runs outside the loop, the later ones at the end of its body.
  const starts = node.inputs.slice(testCaptured + bodyCaptured).map((t) => placeholder(t, "whileLoop"));
  starts.forEach((t, i) => {
    ctx.bind(t, initial[i]!);
  });
  for (const [p, name] of testBound) ctx.bind(p, name);
  const first = ctx.name(evaluateTest(starts));
  const { graph, uses } = ctx.body(
    state.map((tensor) => ({ tensor })),
    bound,
    body.outputs,
    {
      before: [
        { type: "int64", dims: [] },
        { type: "bool", dims: [] },
      ],
      lead: () => [ctx.emit("Identity", [ctx.name(evaluateTest(body.outputs))])],
    },
  );
  return ctx.emitAll("Loop", ["", first, ...initial], node.outputs.length, { body: { graph } }, uses);
}

function rawWhile(
  init: readonly Tensor[],
  test: (state: readonly Tensor[]) => Tensor,
  step: (state: readonly Tensor[]) => readonly Tensor[],
): Tensor[] {
  const trace = (f: (state: readonly Tensor[]) => readonly Tensor[]) => {
    const params = init.map((t) => placeholder(t, "whileLoop"));
    return closeOver(params, f(params), "whileLoop");
  };
  const tested = trace((state) => [test(state)]);
  const stepped = trace(step);
  const pred = tested.graph.outputs[0]!;
  if (pred.dtype !== "bool" || pred.size !== 1)
    throw new TensorError("whileLoop", `the test returns one bool, not ${pred.toString()}`);
  init.forEach((t, i) => {
    const next = stepped.graph.outputs[i]!;
    if (!sameShape(t.shape, next.shape) || t.dtype !== next.dtype)
      throw new TensorError("whileLoop", `the state changes from ${t.toString()} to ${next.toString()}`);
  });
  return [
    ...applyAll(whilePrimitive, [...tested.captured, ...stepped.captured, ...init], {
      test: tested.graph,
      body: stepped.graph,
      testCaptured: tested.captured.length,
      bodyCaptured: stepped.captured.length,
    }),
  ];
}

/**
 * `step(state)` repeated while `test(state)` holds. Forward-mode differentiable only; under `vmap` it runs until all
 * loops are done.
 * @throws TensorError when the state changes structure, shape or dtype.
 */
export function whileLoop<S>(test: (state: S) => Tensor, step: (state: S) => S, init: S): S {
  const { leaves, shape } = flatten("whileLoop", init);
  if (leaves.some((t) => t.dtype === "key"))
    throw new TensorError(
      "whileLoop",
      "the state holds a random key; its number of steps is not known, so draws can't be made ahead",
    );
  const results = rawWhile(
    leaves,
    (state) => reshape(test(shape.build(state) as S), []),
    (state) => {
      const next = flatten("whileLoop", step(shape.build(state) as S));
      if (next.shape.id !== shape.id)
        throw new TensorError(
          "whileLoop",
          `the state's structure changes: ${shape.id} became ${next.shape.id}`,
        );
      return next.leaves;
    },
  );
  return shape.build(results) as S;
}
