import { jit, mul, type Tensor, tensor, toArray } from "@prior-art/tensor";
import { expect, test } from "vitest";
import { multiTransform, setToZero } from "./multiTransform.ts";
import { adam, momentum } from "./optimizers.ts";
import { scale } from "./scaling.ts";

interface Params {
  readonly body: readonly Tensor[];
  readonly head: { readonly w: Tensor; readonly b: Tensor };
}
// Shared tensors, as two parameters that start from one value may be.
const one = tensor([1, 2]);
const params: Params = { body: [one, one], head: { w: one, b: tensor([5]) } };
const gradients: Params = {
  body: [tensor([1, 1]), tensor([2, 2])],
  head: { w: tensor([3, 3]), b: tensor([4]) },
};
const values = async (p: Params) => [
  ...(await Promise.all(p.body.map(toArray))),
  await toArray(p.head.w),
  await toArray(p.head.b),
];

test("each group gets its own transformation, and the updates return to their places", async () => {
  const optimizer = multiTransform((p: Params) => ({ head: p.head, body: p.body }), {
    body: scale<Params["body"]>(10),
    head: setToZero<Params["head"]>(),
  });
  const [updates, state] = optimizer.update(gradients, optimizer.init(params), params);
  expect(await values(updates)).toEqual([[10, 10], [20, 20], [0, 0], [0]]);
  expect(state).toEqual({ body: null, head: null });
});

test("groups keep state for themselves, also inside jit", async () => {
  const optimizer = multiTransform((p: Params) => ({ rest: [p.body, p.head.b], w: p.head.w }), {
    rest: momentum<(readonly Tensor[] | Tensor)[]>({ learningRate: 1, decay: 0.5 }),
    w: adam<Tensor>({ learningRate: 0.1, eps: 0 }),
  });
  const step = jit((g: Params, s: ReturnType<typeof optimizer.init>, p: Params) => optimizer.update(g, s, p));
  const [, first] = await step(gradients, optimizer.init(params), params);
  const [updates, second] = await step(gradients, first, params);
  const expected = [[-1.5, -1.5], [-3, -3], [-0.1, -0.1], [-6]];
  expect(await values(updates)).toEqual(expected.map((v) => v.map((x) => expect.closeTo(x, 5))));
  expect(await toArray(second.w[0].step)).toBe(2);
  expect(await toArray(mul(second.rest[1].step, 1))).toBe(2);
});

test("a parameter of no group, or of two, is refused", () => {
  const none = multiTransform((p: Params) => ({ body: p.body }), { body: scale<Params["body"]>(1) });
  expect(() => none.init(params)).toThrow(/belongs to 0 of the groups body/);
  const twice = multiTransform((p: Params) => ({ all: p, head: p.head }), {
    all: scale<Params>(1),
    head: scale<Params["head"]>(1),
  });
  expect(() => twice.init(params)).toThrow(/belongs to 2/);
});
