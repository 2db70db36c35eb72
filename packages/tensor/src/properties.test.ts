import fc from "fast-check";
import { expect, test } from "vitest";
import * as T from "./index.ts";

/** Row-major numbers with a shape: the reference that the engine is compared with. */
interface Grid {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function positions(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, n) => all.flatMap((at) => Array.from({ length: n }, (_, i) => [...at, i])),
    [[]],
  );
}

function at({ shape, values }: Grid, position: readonly number[]): number {
  const aligned = position.slice(position.length - shape.length);
  return values[aligned.reduce((total, p, i) => total * shape[i]! + (shape[i] === 1 ? 0 : p), 0)]!;
}

const build = (shape: readonly number[], f: (position: number[]) => number): Grid => ({
  shape,
  values: positions(shape).map(f),
});

const value = fc.integer({ min: -40, max: 40 }).map((n) => n / 8);
const gridOf = (shape: readonly number[]): fc.Arbitrary<Grid> =>
  fc
    .array(value, { minLength: sizeOf(shape), maxLength: sizeOf(shape) })
    .map((values) => ({ shape, values }));
const shapes = (maxRank = 3, minSize = 0): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min: minSize, max: 4 }), { maxLength: maxRank });

/** Several shapes that broadcast to the first. */
const broadcastable = (count: number): fc.Arbitrary<number[][]> =>
  shapes(3, 1).chain((full) => {
    const narrower = fc
      .tuple(fc.integer({ min: 0, max: full.length }), fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }))
      .map(([drop, ones]) => full.slice(drop).map((n, i) => (ones[i] ? 1 : n)));
    return fc.array(narrower, { minLength: count, maxLength: count });
  });
const broadcastShape = (all: readonly (readonly number[])[]): number[] => {
  const rank = Math.max(...all.map((s) => s.length));
  return Array.from({ length: rank }, (_, i) =>
    all.map((s) => s[i - rank + s.length] ?? 1).reduce((a, b) => (a === 1 ? b : a)),
  );
};

const tensorOf = ({ shape, values }: Grid): T.Tensor => T.tensor(Float64Array.from(values), { shape });

async function expectEqual(actual: T.Tensor, expected: Grid): Promise<void> {
  expect(actual.shape).toEqual(expected.shape);
  expect(Array.from(await T.data(actual), (v) => v + 0)).toEqual(expected.values.map((v) => v + 0));
}

// Each random shape is a new model to compile, so runs are few; seeds are fixed, so that a failure comes again.
const runs = { numRuns: 40, seed: 7 };

test("add, mul, maximum and less broadcast as positions do", () =>
  fc.assert(
    fc.asyncProperty(
      broadcastable(2).chain(([a, b]) => fc.tuple(gridOf(a!), gridOf(b!))),
      async ([a, b]) => {
        const [x, y] = [tensorOf(a), tensorOf(b)];
        const shape = broadcastShape([a.shape, b.shape]);
        const both = (f: (p: number, q: number) => number) => build(shape, (i) => f(at(a, i), at(b, i)));
        const results = await T.evaluate([
          T.add(x, y),
          T.mul(x, y),
          T.maximum(x, y),
          T.cast(T.less(x, y), "float64"),
        ]);
        await expectEqual(
          results[0]!,
          both((p, q) => p + q),
        );
        await expectEqual(
          results[1]!,
          both((p, q) => p * q),
        );
        await expectEqual(results[2]!, both(Math.max));
        await expectEqual(
          results[3]!,
          both((p, q) => (p < q ? 1 : 0)),
        );
      },
    ),
    runs,
  ));

test("a constant of lower rank keeps the axes of size 1 of what it meets, and of what it was spread to", () => {
  for (const [x, shape] of [
    [T.mul(2, T.zeros([1])), [1]],
    [T.add(T.ones([1, 1]), T.tensor(3)), [1, 1]],
    [T.less(T.ones([1]), 2), [1]],
    [T.sub(T.broadcastTo(T.tensor([1]), [1, 1, 1]), T.zeros([1])), [1, 1, 1]],
    [T.mul(T.zeros([1, 3]), T.zeros([3])), [1, 3]],
  ] as const)
    expect(x.shape).toEqual(shape);
});

test("where broadcasts all three operands", () =>
  fc.assert(
    fc.asyncProperty(
      broadcastable(3).chain(([c, a, b]) => fc.tuple(gridOf(c!), gridOf(a!), gridOf(b!))),
      async ([c, a, b]) => {
        const shape = broadcastShape([c.shape, a.shape, b.shape]);
        await expectEqual(
          T.where(T.greater(tensorOf(c), 0), tensorOf(a), tensorOf(b)),
          build(shape, (i) => (at(c, i) > 0 ? at(a, i) : at(b, i))),
        );
      },
    ),
    runs,
  ));

test("the gradient of a broadcast operand is the sum over what it was repeated for", () =>
  fc.assert(
    fc.asyncProperty(
      broadcastable(2).chain(([a, b]) => fc.tuple(gridOf(a!), gridOf(b!))),
      async ([a, b]) => {
        const gradient = T.grad((x: T.Tensor) => T.sum(T.mul(x, tensorOf(b))))(tensorOf(a));
        const totals = new Map<string, number>();
        const place = (i: number[]): string =>
          i
            .slice(i.length - a.shape.length)
            .map((p, axis) => (a.shape[axis] === 1 ? 0 : p))
            .join();
        for (const i of positions(broadcastShape([a.shape, b.shape])))
          totals.set(place(i), (totals.get(place(i)) ?? 0) + at(b, i));
        await expectEqual(
          gradient,
          build(a.shape, (i) => totals.get(i.join())!),
        );
      },
    ),
    runs,
  ));

const withAxes = shapes(3, 1).chain((shape) =>
  fc.tuple(gridOf(shape), fc.subarray(shape.map((_, i) => i)), fc.boolean()),
);

test("sum and max over any axes", () =>
  fc.assert(
    fc.asyncProperty(withAxes, async ([grid, axes, keep]) => {
      const kept = grid.shape.map((n, i) => (axes.includes(i) ? 1 : n));
      const shape = keep ? kept : grid.shape.filter((_, i) => !axes.includes(i));
      const over = (f: (values: number[]) => number): Grid => ({
        shape,
        values: positions(kept).map((at0) =>
          f(
            positions(grid.shape)
              .filter((i) => i.every((p, axis) => axes.includes(axis) || p === at0[axis]))
              .map((i) => at(grid, i)),
          ),
        ),
      });
      const [total, most] = await T.evaluate([
        T.sum(tensorOf(grid), axes, keep),
        T.max(tensorOf(grid), axes, keep),
      ]);
      await expectEqual(
        total!,
        over((values) => values.reduce((a, b) => a + b, 0)),
      );
      await expectEqual(
        most!,
        over((values) => Math.max(...values)),
      );
    }),
    runs,
  ));

test("transpose moves positions, and reshape keeps the order of elements", () =>
  fc.assert(
    fc.asyncProperty(
      shapes().chain((shape) =>
        fc.tuple(
          gridOf(shape),
          fc.shuffledSubarray(
            shape.map((_, i) => i),
            { minLength: shape.length },
          ),
        ),
      ),
      async ([grid, axes]) => {
        const x = tensorOf(grid);
        const moved = T.transpose(x, axes);
        const expected = build(
          axes.map((a) => grid.shape[a]!),
          (i) =>
            at(
              grid,
              grid.shape.map((_, a) => i[axes.indexOf(a)]!),
            ),
        );
        await expectEqual(moved, expected);
        await expectEqual(T.reshape(moved, [sizeOf(grid.shape)]), {
          ...expected,
          shape: [sizeOf(grid.shape)],
        });
      },
    ),
    runs,
  ));

test("slice picks what Python's slices pick", () =>
  fc.assert(
    fc.asyncProperty(
      shapes(3, 1).chain((shape) =>
        fc.tuple(
          gridOf(shape),
          fc.tuple(
            ...shape.map(() =>
              fc.tuple(
                fc.option(fc.integer({ min: -6, max: 6 })),
                fc.option(fc.integer({ min: -6, max: 6 })),
                fc.constantFrom(1, 2, -1, -2, 3),
              ),
            ),
          ),
        ),
      ),
      async ([grid, specs]) => {
        const picked = grid.shape.map((n, axis) => pythonSlice(n, ...specs[axis]!));
        await expectEqual(
          T.slice(tensorOf(grid), ...specs),
          build(
            picked.map((p) => p.length),
            (i) =>
              at(
                grid,
                i.map((p, axis) => picked[axis]![p]!),
              ),
          ),
        );
      },
    ),
    { ...runs, numRuns: 80 },
  ));

/** Indices of `range(n)[start:stop:step]`, by Python's rules for clamping. */
function pythonSlice(n: number, start: number | null, stop: number | null, step: number): number[] {
  const [low, high] = step > 0 ? [0, n] : [-1, n - 1];
  const clamp = (v: number): number => Math.min(high, Math.max(low, v < 0 ? v + n : v));
  const from = start === null ? (step > 0 ? low : high) : clamp(start);
  const to = stop === null ? (step > 0 ? high : low) : clamp(stop);
  const indices: number[] = [];
  for (let i = from; step > 0 ? i < to : i > to; i += step) indices.push(i);
  return indices;
}

test("pad and slice undo each other; concat and split too", () =>
  fc.assert(
    fc.asyncProperty(
      shapes(3, 1)
        .filter((s) => s.length > 0)
        .chain((shape) =>
          fc.tuple(
            gridOf(shape),
            fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: shape.length, maxLength: shape.length }),
            fc.nat(shape.length - 1),
          ),
        ),
      async ([grid, pads, axis]) => {
        const x = tensorOf(grid);
        const padded = T.pad(x, pads, 1.5);
        const back = T.slice(
          padded,
          ...pads.map(([before], i) => [before, before + grid.shape[i]!] as const),
        );
        await expectEqual(back, grid);
        const parts = T.split(x, grid.shape[axis]!, axis);
        await expectEqual(T.concat(parts, axis), grid);
      },
    ),
    runs,
  ));

test("matmul of stacks broadcasts their leading axes", () =>
  fc.assert(
    fc.asyncProperty(
      fc
        .tuple(
          broadcastable(2),
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 1, max: 3 }),
        )
        .chain(([[a, b], m, k, n]) => fc.tuple(gridOf([...a!, m, k]), gridOf([...b!, k, n]))),
      async ([a, b]) => {
        const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
        const lead = broadcastShape([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
        const expected = build([...lead, m, n], (i) => {
          const [row, column, front] = [i.at(-2)!, i.at(-1)!, i.slice(0, -2)];
          return Array.from(
            { length: k },
            (_, j) => at(a, [...front, row, j]) * at(b, [...front, j, column]),
          ).reduce((x, y) => x + y, 0);
        });
        await expectEqual(T.matmul(tensorOf(a), tensorOf(b)), expected);
      },
    ),
    runs,
  ));
