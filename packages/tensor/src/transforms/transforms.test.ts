import { describe, expect, expectTypeOf, test } from "vitest";
import {
  add,
  cond,
  cos,
  customVjp,
  data,
  evaluate,
  exp,
  grad,
  greater,
  hessian,
  hvp,
  jacobian,
  jit,
  jvp,
  less,
  matmul,
  mul,
  pow,
  scalar,
  scan,
  sin,
  slice,
  stack,
  stopGradient,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  toArray,
  treeMap,
  valueAndGrad,
  vjp,
  vmap,
  where,
  whileLoop,
  zeros,
} from "../index.ts";

const double = (...values: number[]): Tensor => tensor(new Float64Array(values));
const number = (value: number): Tensor => tensor(new Float64Array([value]), { shape: [] });
const values = async (t: Tensor): Promise<number[]> => [...(await data(t))];

async function close(actual: Tensor, expected: Tensor | readonly number[], digits = 9): Promise<void> {
  const wanted = Array.isArray(expected) ? expected : await values(expected as Tensor);
  expect(await values(actual)).toEqual(wanted.map((v) => expect.closeTo(v, digits)));
}

const x = double(0.3, -0.7, 1.2);
/** A function with a full Hessian. */
const f = (v: Tensor): Tensor => mul(sum(sin(v)), sum(exp(mul(v, 0.5))));

describe("nesting", () => {
  test("derivatives of sin up to the fourth", async () => {
    const at = 0.4;
    let d: (v: Tensor) => Tensor = sin;
    for (const expected of [Math.cos(at), -Math.sin(at), -Math.cos(at), Math.sin(at)]) {
      d = grad(d);
      await close(d(number(at)), [expected], 12);
    }
  });

  test("an inner gradient is by its own variable only", async () => {
    // d/dx [x · d/dy (x y)] = d/dx x² = 2x.
    const outer = (v: Tensor): Tensor => mul(v, grad((y: Tensor) => mul(v, y))(v));
    await close(grad(outer)(number(3)), [6]);
  });

  test("jvp of grad is the Hessian's product, and so is hvp", async () => {
    const direction = double(1, 2, -1);
    const product = matmul(hessian(f)(x), direction);
    await close(jvp(grad(f), [x], [direction])[1], product);
    await close(hvp(f, x, direction), product);
    await close(grad((v: Tensor) => sum(mul(grad(f)(v), direction)))(x), product);
  });

  test("vmap of grad is the gradients one by one, and grad of vmap their sum", async () => {
    const rows = stack([x, mul(x, 2), sub(x, 1)]);
    const single = [0, 1, 2].map((i) => grad(f)(slice(rows, i)));
    await close(vmap(grad(f))(rows), stack(single));
    await close(grad((r: Tensor) => sum(vmap(f)(r)))(rows), stack(single));
  });

  test("vmap of vmap", async () => {
    const table = vmap(
      vmap((a: Tensor, b: Tensor) => mul(a, b), { inAxes: [null, 0] }),
      { inAxes: [0, null] },
    );
    await close(table(x, double(1, 2)), [0.3, 0.6, -0.7, -1.4, 1.2, 2.4]);
  });

  test("vmap over other axes", async () => {
    const columns = tensor(new Float64Array([1, 2, 3, 4, 5, 6]), { shape: [2, 3] });
    await close(vmap((c: Tensor) => sum(c), { inAxes: [1] })(columns), [5, 7, 9]);
    expect(vmap((c: Tensor) => mul(c, 2), { inAxes: [1], outAxis: 1 })(columns).shape).toEqual([2, 3]);
  });

  test("the Jacobian by reverse mode has the columns of forward mode", async () => {
    const g = (v: Tensor): Tensor => mul(sin(v), sum(v));
    const columns = [double(1, 0, 0), double(0, 1, 0), double(0, 0, 1)].map((e) => jvp(g, [x], [e])[1]);
    await close(jacobian(g)(x), stack(columns, 1));
  });

  test("through an inner optimization loop", async () => {
    const inner = (rate: Tensor): Tensor => {
      const loss = (p: Tensor) => sum(pow(sub(p, x), 4));
      const [p] = scan((q: Tensor) => [sub(q, mul(rate, grad(loss)(q))), null], mul(x, 0), null, {
        length: 6,
      });
      return loss(p);
    };
    const h = 1e-5;
    const [up, down] = [await inner(number(0.03 + h)).item(), await inner(number(0.03 - h)).item()];
    await close(grad(inner)(number(0.03)), [(up - down) / (2 * h)], 5);
  });
});

describe("scan", () => {
  const step =
    (w: Tensor) =>
    (s: { h: Tensor }, v: Tensor): [{ h: Tensor }, Tensor] => {
      const h = tanh(add(mul(s.h, w), v));
      return [{ h }, mul(h, h)];
    };
  const looped = (w: Tensor, xs: Tensor): Tensor => {
    let state = { h: number(0.5) };
    let total: Tensor = number(0);
    for (let i = 0; i < 3; i++) {
      const [next, y] = step(w)(state, slice(xs, i));
      state = next;
      total = add(total, mul(y, i + 1));
    }
    return add(total, state.h);
  };
  const scanned =
    (options: { checkpoint?: boolean } = {}) =>
    (w: Tensor, xs: Tensor): Tensor => {
      const [state, ys] = scan(step(w), { h: number(0.5) }, xs, options);
      return add(sum(mul(ys, double(1, 2, 3))), state.h);
    };
  const w = number(0.8);

  test.each([{}, { checkpoint: true }])(
    "%j: value, gradients and their gradients are the loop's",
    async (options) => {
      const g = scanned(options);
      await close(g(w, x), looped(w, x));
      await close(grad(g)(w, x), grad(looped)(w, x));
      await close(grad((xs: Tensor) => g(w, xs))(x), grad((xs: Tensor) => looped(w, xs))(x));
      await close(grad(grad(g))(w, x), grad(grad(looped))(w, x));
      await close(jvp(g, [w, x], [number(1), x])[1], jvp(looped, [w, x], [number(1), x])[1]);
      await close(hessian((xs: Tensor) => g(w, xs))(x), hessian((xs: Tensor) => looped(w, xs))(x));
    },
  );

  test("under vmap over captured values, over the sequence, and over both", async () => {
    const ws = double(0.2, -0.4);
    const sequences = stack([x, mul(x, -2)]);
    const g = scanned();
    for (const [inAxes, args] of [
      [
        [0, null],
        [ws, x],
      ],
      [
        [null, 0],
        [w, sequences],
      ],
      [
        [0, 0],
        [ws, sequences],
      ],
    ] as const) {
      await close(vmap(g, { inAxes })(...args), vmap(looped, { inAxes })(...args));
      await close(vmap(grad(g), { inAxes })(...args), vmap(grad(looped), { inAxes })(...args));
    }
  });

  test("in reverse, results keep the positions of their slices", async () => {
    const [last, sums] = scan(
      (s: Tensor, v: Tensor): [Tensor, Tensor] => [add(s, v), add(s, v)],
      number(0),
      x,
      { reverse: true },
    );
    await close(last, [0.8]);
    await close(sums, [0.8, 0.5, 1.2]);
  });

  test("of no steps gives the state back", async () => {
    const [state, ys] = scan(
      (s: Tensor, v: Tensor): [Tensor, Tensor] => [add(s, v), v],
      number(2),
      zeros([0], "float64"),
    );
    await close(state, [2]);
    expect(ys.shape).toEqual([0]);
  });

  test("whole numbers and bools ride along a differentiated state", async () => {
    const g = (v: Tensor): Tensor =>
      scan(
        (s: { n: Tensor; even: Tensor; y: Tensor }) => [
          { n: add(s.n, 1), even: less(s.n, 2), y: where(s.even, mul(s.y, v), add(s.y, v)) },
          null,
        ],
        { n: scalar(0, "int32"), even: tensor(true), y: v },
        null,
        { length: 4 },
      )[0].y;
    // y: v → v² → v³ → v⁴ → v⁴ + v.
    await close(grad(g)(number(1.5)), [4 * 1.5 ** 3 + 1], 8);
  });
});

describe("cond and whileLoop", () => {
  const g = (v: Tensor): Tensor =>
    cond(
      greater(v, 0),
      (t) => mul(t, mul(t, 2)),
      (t) => mul(t, 3),
      v,
    );

  test("the taken branch's value and derivatives", async () => {
    await close(g(number(2)), [8]);
    await close(grad(g)(number(2)), [8]);
    await close(grad(g)(number(-2)), [3]);
    await close(grad(grad(g))(number(2)), [4]);
    await close(jvp(g, [number(-2)], [number(5)])[1], [15]);
  });

  test("under vmap each example takes its own", async () => {
    await close(vmap(grad(g))(double(-1, 1, 2)), [3, 4, 8]);
  });

  test("a while loop runs until its test fails, for each example of a batch", async () => {
    const power = (v: Tensor, n: Tensor): Tensor =>
      whileLoop(
        (s) => less(s.i, n),
        (s) => ({ i: add(s.i, 1), y: mul(s.y, v) }),
        { i: mul(n, 0), y: add(mul(v, 0), 1) },
      ).y;
    await close(power(number(3), number(4)), [81]);
    await close(jvp((v: Tensor) => power(v, number(4)), [number(3)], [number(1)])[1], [108]);
    await close(vmap(power)(double(2, 3, 5), double(5, 2, 0)), [32, 9, 1]);
  });
});

describe("custom derivatives", () => {
  /** The square, whose derivative is said to be 3x instead of 2x. */
  const square = customVjp((v: Tensor) => mul(v, v), {
    forward: (v) => [mul(v, v), v],
    backward: (v, ct) => [mul(ct, mul(v, 3))],
  });

  test("replace those of the function in every mode and order", async () => {
    await close(square(x), mul(x, x));
    await close(grad((v: Tensor) => sum(square(v)))(x), mul(x, 3));
    await close(jvp(square, [x], [double(1, 1, 1)])[1], mul(x, 3));
    await close(vmap(grad(square))(x), mul(x, 3));
    await close(grad(grad((v: Tensor) => mul(v, square(v))))(number(2)), [3 * 2 + 6 * 2]);
    await close(await jit(vmap(grad(square)))(x), mul(x, 3));
  });

  test("an argument shared by a batch gets the sum", async () => {
    const scaled = customVjp((a: Tensor, b: Tensor) => mul(a, b), {
      forward: (a, b) => [mul(a, b), { a, b }],
      backward: ({ a, b }, ct) => [mul(ct, b), mul(ct, mul(a, 10))],
    });
    const total = (b: Tensor): Tensor => sum(vmap(scaled, { inAxes: [0, null] })(x, b));
    await close(grad(total)(number(2)), [10 * (0.3 - 0.7 + 1.2)]);
  });

  test("stopGradient has the value and no derivative", async () => {
    await close(grad((v: Tensor) => sum(mul(v, stopGradient(v))))(x), x);
  });
});

describe("jit", () => {
  test("traces once for each structure, shape and static value", async () => {
    let traces = 0;
    const g = jit((p: { a: Tensor }, factor: number) => {
      traces++;
      return mul(p.a, factor);
    });
    await close(await g({ a: x }, 2), mul(x, 2));
    await close(await g({ a: mul(x, 3) }, 2), mul(x, 6));
    expect(traces).toBe(1);
    await close(await g({ a: x }, 4), mul(x, 4));
    await g({ a: double(1, 2) }, 4);
    expect(traces).toBe(3);
  });

  test("gives back trees, statics, untouched arguments and constants as they are", async () => {
    const result = await jit((p: { w: Tensor }) => ({
      same: p.w,
      name: "w",
      two: [mul(p.w, 2), scalar(5)] as const,
    }))({ w: x });
    expectTypeOf(result.two).toEqualTypeOf<readonly [Tensor, Tensor]>();
    expect(result.same).toBe(x);
    expect(result.name).toBe("w");
    await close(result.two[0], mul(x, 2));
    expect(await result.two[1].item()).toBe(5);
  });

  test("calls at the same time don't mix", async () => {
    const g = jit((v: Tensor) => sum(mul(v, v)));
    const results = await Promise.all([1, 2, 3, 4].map((k) => g(mul(x, k)).then((t) => t.item())));
    const one = results[0]!;
    expect(results).toEqual([1, 4, 9, 16].map((k) => expect.closeTo(k * one, 9)));
  });
});

test("the value of vjp can be read before its pullback is used", async () => {
  const [value, pullback] = vjp((v: Tensor) => sin(v), x);
  await evaluate(value);
  await close(pullback(double(1, 1, 1))[0], cos(x));
});

test("gradients have the parameters' tree, typed, with what else the function returns", async () => {
  const params = { layers: [{ w: x }], scale: number(2) };
  const loss = (p: typeof params, v: Tensor): [Tensor, { norm: Tensor }] => [
    mul(p.scale, sum(mul(p.layers[0]!.w, v))),
    { norm: sum(v) },
  ];
  const [[value, aux], gradient] = valueAndGrad(loss, { hasAux: true })(params, double(1, 2, 3));
  expectTypeOf(gradient).toEqualTypeOf<typeof params>();
  await close(gradient.layers[0]!.w, [2, 4, 6]);
  await close(gradient.scale, [0.3 - 1.4 + 3.6]);
  expect(await aux.norm.item()).toBe(6);
  expect(await value.item()).toBeCloseTo(5, 9);
  expect(await toArray(treeMap((p, g) => sub(p, g), params, gradient).scale)).toBeCloseTo(-0.5, 9);
});
