/** Tensors in double precision, and the numbers in them, for tests that compare optimizers entry by entry. */
import { data, item, mean, random, sqrt, square, type Tensor, tensor, treeLeaves } from "@prior-art/tensor";
import { expect } from "vitest";

export const double = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor =>
  tensor(new Float64Array(values), { shape });

/** Standard normal numbers, always the same for a seed and a shape. */
export const gaussian = (seed: number, shape: readonly number[]): Tensor =>
  random.normal(random.key(seed), shape, { dtype: "float64" });

/** A tensor's entries, row by row. */
export const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

/** For `toEqual`: each number to so many digits after the point. */
export const close = (values: readonly number[], digits = 10): unknown[] =>
  values.map((v) => expect.closeTo(v, digits));

/** Largest absolute difference between two tensors or trees of the same shapes; NaN where an entry is. */
export async function gap(a: unknown, b: unknown): Promise<number> {
  const [x, y] = [treeLeaves(a), treeLeaves(b)];
  expect(x).not.toHaveLength(0);
  expect(x.map(({ shape }) => shape)).toEqual(y.map(({ shape }) => shape));
  const gaps = await Promise.all(
    x.map(async (t, i) => {
      const [u, v] = [await numbers(t), await numbers(y[i]!)];
      return Math.max(...u.map((value, j) => Math.abs(value - v[j]!)));
    }),
  );
  return Math.max(...gaps);
}

/** The Euclidean norm of all entries of a tensor or tree. */
export const norm = async (tree: unknown): Promise<number> =>
  Math.hypot(...(await Promise.all(treeLeaves(tree).map(numbers))).flat());

/** The root mean square of a tensor's entries. */
export const rms = (t: Tensor): Promise<number> => item(sqrt(mean(square(t))));
