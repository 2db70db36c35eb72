import fc from "fast-check";
import { expect, test } from "vitest";
import * as T from "./index.ts";

const numRuns = 60 * Number(process.env.FUZZ_FACTOR ?? 1);

/** A step of a random program: an operation and which earlier values it takes. */
interface Step {
  readonly op: keyof typeof OPERATIONS;
  readonly operands: readonly [number, number];
}

const same = (x: T.Tensor, y: T.Tensor): boolean => x.shape.join() === y.shape.join();

/** Operations that keep values small and whose results may be of any shape; each says itself what it can take. */
const OPERATIONS = {
  add: (x: T.Tensor, y: T.Tensor) => (same(x, y) ? T.mul(0.5, T.add(x, y)) : T.neg(x)),
  sub: (x: T.Tensor, y: T.Tensor) => (same(x, y) ? T.mul(0.5, T.sub(x, y)) : T.mul(0.5, x)),
  mul: (x: T.Tensor, y: T.Tensor) => T.mul(x, T.mean(y)),
  div: (x: T.Tensor, y: T.Tensor) => T.div(x, T.add(2, T.mul(T.mean(y), T.mean(y)))),
  tanh: (x: T.Tensor) => T.tanh(x),
  sigmoid: (x: T.Tensor) => T.sigmoid(x),
  relu: (x: T.Tensor) => T.relu(T.sub(x, 0.013)),
  exp: (x: T.Tensor) => T.exp(T.neg(T.mul(x, x))),
  softmax: (x: T.Tensor) => (x.rank > 0 ? T.softmax(x) : x),
  transpose: (x: T.Tensor) => (x.rank === 2 ? T.transpose(x) : x),
  matmul: (x: T.Tensor, y: T.Tensor) =>
    x.rank === 2 && y.rank === 2 && x.shape[1] === y.shape[0] ? T.div(T.matmul(x, y), x.shape[1]!) : x,
  reshape: (x: T.Tensor) => T.reshape(x, [x.size]),
  outer: (x: T.Tensor, y: T.Tensor) =>
    x.rank === 1 && y.rank === 1 && x.size * y.size <= 36
      ? T.matmul(T.reshape(x, [x.size, 1]), T.reshape(y, [1, y.size]))
      : x,
  sum: (x: T.Tensor) => (x.rank > 0 ? T.mean(x, 0) : x),
  max: (x: T.Tensor) => (x.rank > 0 ? T.max(x, -1) : x),
  slice: (x: T.Tensor) => (x.rank > 0 && x.shape[0]! > 1 ? T.slice(x, [1, null]) : x),
  concat: (x: T.Tensor, y: T.Tensor) => (x.rank > 0 && same(x, y) && x.size <= 18 ? T.concat([x, y]) : x),
  where: (x: T.Tensor, y: T.Tensor) => (same(x, y) ? T.where(T.greater(x, 0.0137), x, y) : x),
} as const;

const program = fc.array(
  fc.record({
    op: fc.constantFrom(...(Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[])),
    operands: fc.tuple(fc.nat(), fc.nat()),
  }),
  { minLength: 2, maxLength: 14 },
);
const inputs = fc.array(fc.integer({ min: -999, max: 999 }), { minLength: 15, maxLength: 15 });

/** The values of all steps; `settle` may replace each by an equal one. */
function run(
  steps: readonly Step[],
  first: readonly T.Tensor[],
  settle: (x: T.Tensor) => T.Tensor = (x) => x,
): T.Tensor[] {
  const values = [...first];
  for (const { op, operands } of steps) {
    const [x, y] = operands.map((at) => values[at % values.length]!) as [T.Tensor, T.Tensor];
    values.push(settle(OPERATIONS[op](x, y)));
  }
  return values.slice(first.length);
}

const leaves = (numbers: readonly number[]): T.Tensor[] => {
  const scaled = numbers.map((n) => n / 500);
  const of = (from: number, to: number, shape: readonly number[]) =>
    T.tensor(Float64Array.from(scaled.slice(from, to)), { shape });
  return [of(0, 6, [2, 3]), of(6, 12, [3, 2]), of(12, 15, [3])];
};

test("a whole random program as one graph gives what its operations give one by one", async () => {
  await fc.assert(
    fc.asyncProperty(program, inputs, async (steps, numbers) => {
      const first = leaves(numbers);
      const whole = T.jit((given: readonly T.Tensor[]) => run(steps, given));
      const together = await whole(first);
      const oneByOne: T.Tensor[] = [];
      const values = [...first];
      for (const { op, operands } of steps) {
        const [x, y] = operands.map((at) => values[at % values.length]!) as [T.Tensor, T.Tensor];
        const result = OPERATIONS[op](x, y);
        const settled = T.tensor(Float64Array.from(await T.data(result)), { shape: result.shape });
        values.push(settled);
        oneByOne.push(settled);
      }
      for (const [i, value] of together.entries()) {
        expect(value.shape).toEqual(oneByOne[i]!.shape);
        const [got, wanted] = [await T.data(value), await T.data(oneByOne[i]!)];
        for (const [j, v] of got.entries()) expect(Math.abs(v - wanted[j]!)).toBeLessThan(1e-9);
      }
      await whole.release();
    }),
    { numRuns },
  );
}, 600_000);

test("gradients of random programs agree with finite differences, through vmap as well", async () => {
  await fc.assert(
    fc.asyncProperty(program, inputs, async (steps, numbers) => {
      const [x, y, z] = leaves(numbers) as [T.Tensor, T.Tensor, T.Tensor];
      const loss = (at: T.Tensor): T.Tensor =>
        run(steps, [at, y, z])
          .map((value) => T.mean(value))
          .reduce((a, b) => T.add(a, b));
      const gradient = await T.data(T.grad(loss)(x));
      const step = 1e-6;
      const values = [...(await T.data(x))];
      const moved = T.tensor(
        Float64Array.from(
          values.flatMap((_, i) => [step, -step].flatMap((h) => values.map((v, j) => (i === j ? v + h : v)))),
        ),
        { shape: [2 * values.length, ...x.shape] },
      );
      const around = await T.data(T.vmap(loss)(moved));
      for (const [i, g] of gradient.entries()) {
        const slope = (around[2 * i]! - around[2 * i + 1]!) / (2 * step);
        // Kinks of relu, max and where may lie within the step.
        if (Math.abs(slope - g) > 1e-5) {
          const sides = await T.data(T.vmap(loss)(moved));
          const middle = await T.item(loss(x));
          const [up, down] = [(sides[2 * i]! - middle) / step, (middle - sides[2 * i + 1]!) / step];
          expect(Math.abs(up - down), `slopes ${up} and ${down}, gradient ${g}`).toBeGreaterThan(1e-4);
        }
      }
    }),
    { numRuns: Math.ceil(numRuns / 2) },
  );
}, 600_000);
