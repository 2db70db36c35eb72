import { describe, expect, test } from "vitest";
import {
  type ConvOptions,
  concat,
  conv1d,
  conv2d,
  data,
  grad,
  random,
  sin,
  split,
  sum,
  type Tensor,
  vmap,
} from "../index.ts";

/** Few filters at a time go another way than many at once on small planes; both must agree. */
const inParts = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor =>
  concat(
    split(w, w.shape[0]!).map((filter) => conv2d(x, filter, options)),
    1,
  );

const close = async (a: Tensor, b: Tensor): Promise<void> => {
  expect(a.shape).toEqual(b.shape);
  const expected = [...(await data(b))].map((v) => expect.closeTo(v, 10));
  expect([...(await data(a))]).toEqual(expected);
};

describe("many filters on small planes are the filters one by one", () => {
  const dtype = "float64";
  const x = random.normal(random.key(1), [3, 2, 4, 5], { dtype });
  const w = random.normal(random.key(2), [24, 2, 3, 2], { dtype });
  const loss = (conv: typeof conv2d, options: ConvOptions) => (p: { x: Tensor; w: Tensor }) =>
    sum(sin(conv(p.x, p.w, options)));

  test.each<[string, ConvOptions]>([
    ["plain", {}],
    ["same", { padding: "same" }],
    ["strided and padded unevenly", { stride: [2, 1], padding: [[2, 0], 1] }],
    ["dilated", { dilation: [1, 3] }],
  ])("%s: values and derivatives", async (_, options) => {
    await close(conv2d(x, w, options), inParts(x, w, options));
    const whole = grad(loss(conv2d, options))({ x, w });
    const parts = grad(loss(inParts, options))({ x, w });
    await close(whole.x, parts.x);
    await close(whole.w, parts.w);
  });

  test("under vmap over the filters", async () => {
    const stacks = random.normal(random.key(3), [2, 24, 2, 3, 2], { dtype });
    const [first, second] = split(vmap((f: Tensor) => conv2d(x, f))(stacks), 2);
    const [a, b] = split(stacks, 2);
    await close(first!, vmap((f: Tensor) => inParts(x, f))(a!));
    await close(second!, vmap((f: Tensor) => inParts(x, f))(b!));
  });
});

test("a short signal", async () => {
  const x = random.normal(random.key(4), [2, 1, 6]);
  const w = random.normal(random.key(5), [8, 1, 3]);
  const [signal, kernel, out] = [await data(x), await data(w), await data(conv1d(x, w))];
  const expected = Array.from({ length: 2 * 8 * 4 }, (_, i) => {
    const [n, f, at] = [Math.floor(i / 32), Math.floor(i / 4) % 8, i % 4];
    return [0, 1, 2].reduce((total, k) => total + signal[n * 6 + at + k]! * kernel[f * 3 + k]!, 0);
  });
  expect([...out]).toEqual(expected.map((v) => expect.closeTo(v, 4)));
});
