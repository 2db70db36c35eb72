import { afterEach, describe, expect, test } from "vitest";
import {
  add,
  cond,
  conv2d,
  data,
  debugNans,
  evaluate,
  grad,
  jit,
  log,
  matmul,
  mul,
  reshape,
  scan,
  sub,
  sum,
  type Tensor,
  TensorError,
  take,
  tensor,
  toArray,
  treeMap,
  vmap,
  where,
  whileLoop,
} from "./index.ts";

const matrix = tensor([
  [1, 2],
  [3, 4],
]);
const vector = tensor([1, 2, 3]);
const whole = tensor([1, 2, 3], { dtype: "int32" });

/** The error that `f` throws, which must point at this file. */
function misuse(f: () => unknown): TensorError {
  try {
    f();
  } catch (error) {
    expect(error).toBeInstanceOf(TensorError);
    expect((error as TensorError).message).toMatch(/errors\.test\.ts:\d+/);
    return error as TensorError;
  }
  throw new Error("nothing was thrown");
}

describe("a misuse names the operation, what is wrong and the caller's line", () => {
  test.each<[string, () => unknown, RegExp]>([
    [
      "shapes that don't broadcast",
      () => add(matrix, vector),
      /^add: shapes \[2, 2\] and \[3\] do not broadcast/,
    ],
    ["dtypes that differ", () => mul(vector, whole), /^mul: dtypes differ: float32\[3\] and int32\[3\]/],
    [
      "inner sizes that differ",
      () => matmul(matrix, vector),
      /^matmul: inner sizes differ: \[2, 2\] and \[3\]/,
    ],
    ["a reshape to another size", () => reshape(vector, [2, 2]), /^reshape: \[3\] can't become \[2, 2\]/],
    ["a fraction beside int32", () => add(whole, 0.5), /^add: 0.5 is not a whole number/],
    [
      "a condition that isn't bool",
      () => where(vector, 1, 2),
      /^where: the condition is bool, not float32\[3\]/,
    ],
    ["indices that aren't int32", () => take(vector, vector), /^take: indices are int32, not float32\[3\]/],
    ["an axis out of range", () => sum(vector, 1), /^sum: axis 1 is out of range for a tensor of rank 1/],
    ["ragged rows", () => tensor([[1, 2], [3]]), /^tensor: rows differ in length/],
    [
      "values that don't fill a shape",
      () => tensor([1, 2, 3], { shape: [2, 2] }),
      /^tensor: 3 values do not fill shape \[2, 2\]/,
    ],
    [
      "channels that don't fit",
      () => conv2d(tensor([[[[1]]]]), tensor([[[[1]], [[1]]]])),
      /^conv2d: channels don't fit: \[1, 1, 1, 1\]/,
    ],
    [
      "a gradient of many numbers",
      () => grad((x: Tensor) => x)(vector),
      /^grad: the function returned Tensor\(float32\[3\]\); a gradient is of one float/,
    ],
    [
      "a gradient by whole numbers",
      () => grad((p: { n: Tensor }) => sum(p.n))({ n: whole }),
      /^grad: n is int32; derivatives are by floats/,
    ],
    [
      "trees of other structures",
      () => treeMap(add, { a: vector }, { b: vector }),
      /^treeMap: the trees differ: \{a\} and \{b\}/,
    ],
    [
      "a class instance in a tree",
      () => jit((d: Date) => d).trace(new Date()),
      /^jit: \[0\] is a Date; trees are plain objects/,
    ],
    ["a function in a tree", () => treeMap(add, { f: () => 1 }), /^treeMap: f is a function/],
    ["mapped sizes that differ", () => vmap(add)(matrix, vector), /^vmap: mapped sizes differ: 2 and 3/],
    [
      "a state that changes shape",
      () => scan((s: Tensor) => [reshape(s, [3, 1]), null], vector, null, { length: 2 }),
      /^scan: the state changes from Tensor\(float32\[3\]\) to Tensor\(float32\[3, 1\]\)/,
    ],
    [
      "branches of other shapes",
      () =>
        cond(
          tensor(true),
          () => vector,
          () => matrix,
        ),
      /^cond: the branches return Tensor\(float32\[3\]\) and Tensor\(float32\[2, 2\]\)/,
    ],
    [
      "a loop's test that isn't bool",
      () =>
        whileLoop(
          (s: Tensor) => s,
          (s) => s,
          tensor(1),
        ),
      /^whileLoop: the test returns one bool/,
    ],
    [
      "a reverse derivative of a while loop",
      () =>
        grad((x: Tensor) =>
          whileLoop(
            (_: Tensor) => tensor(false),
            (s) => mul(s, x),
            x,
          ),
        )(tensor(2)),
      /^whileLoop: has no reverse-mode derivative/,
    ],
    [
      "an asynchronous function under jit",
      () => jit(async () => vector).trace(),
      /^jit: the function is asynchronous/,
    ],
  ])("%s", (_, f, message) => {
    expect(misuse(f).message).toMatch(message);
  });

  test("a traced value used as a number", () => {
    const peeking = (x: Tensor): Tensor => ((x as unknown as number) > 0 ? x : mul(x, 2));
    expect(misuse(() => jit(peeking).trace(tensor(1))).message).toMatch(
      /^number: Tensor\(float32\[\]\) was used as a JavaScript number/,
    );
  });
});

describe("a value that leaks out of its trace", () => {
  test.each<[string, (keep: (t: Tensor) => Tensor) => unknown]>([
    ["vmap", (keep) => vmap((x: Tensor) => keep(x))(vector)],
    ["jit", (keep) => jit((x: Tensor) => keep(x)).trace(vector)],
    ["scan", (keep) => scan((s: Tensor, x: Tensor) => [s, keep(x)], tensor(0), vector)],
  ])("of %s has no value outside", async (trace, run) => {
    let leaked: Tensor | undefined;
    run((t) => (leaked = mul(t, 2)));
    const reading = data(leaked!);
    await expect(reading).rejects.toThrow(
      new RegExp(`evaluate: the value depends on an input of a function traced by ${trace}`),
    );
    await expect(reading).rejects.toThrow(/errors\.test\.ts/);
  });
});

test("indices out of range are clamped, and negative ones count from the end", async () => {
  const at = tensor([-9, -1, 0, 2, 9], { dtype: "int32" });
  expect(await toArray(take(vector, at))).toEqual([1, 3, 1, 3, 3]);
  const gradient = grad((x: Tensor) => sum(mul(take(x, at), tensor([1, 10, 100, 1000, 10000]))))(vector);
  expect(await toArray(gradient)).toEqual([101, 0, 11010]);
});

describe("debugNans", () => {
  afterEach(() => debugNans(false));

  const f = (x: Tensor): Tensor => sum(mul(log(sub(x, 2)), 3));

  test("names the operation and the line that made the first NaN", async () => {
    debugNans(true);
    await expect(evaluate(f(vector))).rejects.toThrow(
      /^log: made the first NaN, in a result of shape \[3\]\n.*errors\.test\.ts/,
    );
    await expect(jit(f)(vector)).rejects.toThrow(/^log: made the first NaN/);
  });

  test("is silent about clean values, and off by default", async () => {
    expect(await f(vector).item()).toBeNaN();
    debugNans(true);
    expect(await f(tensor([3, 3])).item()).toBe(0);
  });
});
