import {
  add,
  cast,
  data,
  div,
  evaluate,
  greaterEqual,
  jit,
  less,
  linalg,
  matmul,
  minimum,
  mul,
  random,
  scan,
  sub,
  sum,
  type Tensor,
  tensor,
  transpose,
  vmap,
  where,
  zeros,
} from "@prior-art/tensor";
import type { GradientTransformation } from "@prior-art/toolkit/optim";
import { type Geometry, geometry, iteratedSpectral } from "./geometry.ts";
import {
  orthogonalSgdm,
  type ProblemConstants,
  stationarityBound,
  trustRegionMomentum,
  tuneFromTheory,
} from "./method.ts";

export type Norm = "l2" | "linf" | "spectral";

const geometryOf = (norm: Norm): Geometry => (norm === "spectral" ? iteratedSpectral : geometry(norm));

const list = (values: readonly number[]): Tensor => tensor(new Float64Array(values));
const gaussian = (key: Tensor, i: number, shape: readonly number[]): Tensor =>
  random.normal(random.fold(key, i), shape, { dtype: "float64" });

/** `½‖AXB - C‖²` with X `[20, 10]`, from 0; the least is 0. */
interface LeastSquares {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly best: Tensor;
  /** f at the start. */
  readonly gap: number;
  readonly smoothness: Readonly<Record<Norm, number>>;
}

const [ROWS, COLUMNS] = [20, 10];
const gradientOf = ({ a, b, best }: Pick<LeastSquares, "a" | "b" | "best">, x: Tensor): Tensor =>
  matmul(matmul(transpose(a), matmul(matmul(a, sub(x, best)), b)), transpose(b));

/** Singular values from 1 down to 0.5, so that what is measured is the method's rate, not the conditioning's. */
async function leastSquares(seed: number): Promise<LeastSquares> {
  const key = random.key(seed);
  const even = (i: number, size: number): Tensor => {
    const values = list(Array.from({ length: size }, (_, j) => 0.5 ** (j / (size - 1))));
    return matmul(
      mul(linalg.qr(gaussian(key, i, [size, size])).q, values),
      linalg.qr(gaussian(key, i + 1, [size, size])).q,
    );
  };
  const [a, b, best] = [even(0, ROWS), even(2, COLUMNS), gaussian(key, 4, [ROWS, COLUMNS])];
  await evaluate({ a, b, best });
  const residual = matmul(matmul(a, best), b);
  const [ofA, ofB] = [matmul(transpose(a), a), matmul(b, transpose(b))];
  const total = async (m: Tensor): Promise<number> =>
    [...(await data(m))].reduce((s, v) => s + Math.abs(v), 0);
  const [sA, sB] = await Promise.all(
    [a, b].map(async (m) => [...(await data(linalg.singularValues(m)))].map((v) => v * v)),
  );
  return {
    a,
    b,
    best,
    gap: (await data(mul(0.5, sum(mul(residual, residual)))))[0]!,
    // ⟨D, AᵀA D BBᵀ⟩ is at most λ₁λ₁‖D‖²_F; Σλᵢλᵢ for ‖D‖₂ ≤ 1 by von Neumann's inequality; and at most the sum of all
    // entries' sizes for entries of at most 1.
    smoothness: {
      l2: sA![0]! * sB![0]!,
      spectral: sB!.reduce((s, v, i) => s + v * sA![i]!, 0),
      linf: (await total(ofA)) * (await total(ofB)),
    },
  };
}

/** ρ of `‖·‖_* ≤ ρ‖·‖₂`. */
const EQUIVALENCE: Readonly<Record<Norm, number>> = {
  l2: 1,
  linf: Math.sqrt(ROWS * COLUMNS),
  spectral: Math.sqrt(COLUMNS),
};

export interface Rates {
  /** The least dual norm of the first K gradients, by K. */
  readonly least: readonly number[];
  /** What the theory allows. */
  readonly bounds: readonly number[];
}

/** Runs tuned by the theory for each number of steps, side by side. */
export async function measureRates(
  norm: Norm,
  noise: number,
  counts: readonly number[],
  seed: number,
): Promise<Rates> {
  const problem = await leastSquares(seed);
  const constants = counts.map(
    (steps): ProblemConstants => ({
      smoothness: problem.smoothness[norm],
      gap: problem.gap,
      noise,
      equivalence: EQUIVALENCE[norm],
      steps,
    }),
  );
  const tunings = constants.map(tuneFromTheory);
  const shape = geometryOf(norm);
  const longest = Math.max(...counts);
  const run = jit((radii: Tensor, shares: Tensor, limits: Tensor) =>
    vmap((radius: Tensor, momentum: Tensor, limit: Tensor) => {
      const optimizer = trustRegionMomentum<Tensor>({ norm: shape, radius, momentum });
      type State = ReturnType<typeof optimizer.init>;
      const start = zeros([ROWS, COLUMNS], "float64");
      const [[, , least]] = scan(
        ([x, state, best]: readonly [Tensor, State, Tensor], key: Tensor) => {
          const exact = gradientOf(problem, x);
          const now = less(state.step, limit);
          const dual = shape.dual(exact);
          const error = mul(
            noise / Math.sqrt(ROWS * COLUMNS),
            random.normal(key, [ROWS, COLUMNS], { dtype: "float64" }),
          );
          const [updates, next] = optimizer.update(noise > 0 ? add(exact, error) : exact, state, x);
          return [[add(x, updates), next, where(now, minimum(best, dual), best)] as const, null] as const;
        },
        [start, optimizer.init(start), tensor(Float64Array.of(1e9), { shape: [] })] as const,
        random.split(random.fold(random.key(seed), 9), longest),
      );
      return least;
    })(radii, shares, limits),
  );
  const least = await run(
    list(tunings.map((t) => t.radius)),
    list(tunings.map((t) => t.momentum)),
    list(counts),
  );
  const values = [...(await data(least))];
  await run.release();
  return { least: values, bounds: constants.map((c, i) => stationarityBound(c, tunings[i]!)) };
}

export type Order = "muon" | "orthogonalFirst";

/**
 * `½‖X - X*‖²` with gradients that are off by a matrix N of rank 1 nine times in ten and by -9N once: unbiased, but
 * rarely on the right side. The dual norm of the gradient, mean of the last tenth of K steps, by K.
 */
export async function biasFloors(order: Order, counts: readonly number[], seed: number): Promise<number[]> {
  const [rows, columns, size] = [10, 5, 3];
  const key = random.key(seed);
  const best = gaussian(key, 0, [rows, columns]);
  const direction = (i: number, n: number): Tensor => linalg.qr(gaussian(key, i, [n, 1])).q;
  const error = mul(size, matmul(direction(1, rows), transpose(direction(2, columns))));
  await evaluate({ best, error });
  const longest = Math.max(...counts);
  const run = jit((limits: Tensor, radii: Tensor, shares: Tensor) =>
    vmap((limit: Tensor, radius: Tensor, momentum: Tensor) => {
      const options = { norm: iteratedSpectral, radius, momentum };
      const optimizer: GradientTransformation<Tensor, { readonly step: Tensor }> =
        order === "muon"
          ? (trustRegionMomentum<Tensor>(options) as never)
          : (orthogonalSgdm<Tensor>(options) as never);
      type State = ReturnType<typeof optimizer.init>;
      const start = zeros([rows, columns], "float64");
      const [[, , total]] = scan(
        ([x, state, sumOf]: readonly [Tensor, State, Tensor], draw: Tensor) => {
          const exact = sub(x, best);
          const late = cast(greaterEqual(state.step, mul(0.9, limit)), "float64");
          const now = cast(less(state.step, limit), "float64");
          const side = sub(mul(10, cast(less(draw, 0.9), "float64")), 9);
          const [updates, next] = optimizer.update(add(exact, mul(side, error)), state, x);
          const counted = mul(mul(late, now), iteratedSpectral.dual(exact));
          return [[add(x, updates), next, add(sumOf, counted)] as const, null] as const;
        },
        [start, optimizer.init(start), tensor(Float64Array.of(0), { shape: [] })] as const,
        random.uniform(random.fold(key, 3), [longest], { dtype: "float64" }),
      );
      return div(total, mul(0.1, limit));
    })(limits, radii, shares),
  );
  const floors = await run(
    list(counts),
    list(counts.map((k) => 3 * k ** -0.75)),
    list(counts.map((k) => k ** -0.5)),
  );
  const values = [...(await data(floors))];
  await run.release();
  return values;
}

export interface ExtrapolationRun {
  readonly seed: number;
  readonly radius: number;
  readonly momentum: number;
  readonly steps: number;
  readonly extrapolate: boolean;
}

/** Mean dual norm of the gradients at the iterates of the second half, on noisy least squares in the spectral norm. */
export async function secondHalf({
  seed,
  radius,
  momentum,
  steps,
  extrapolate,
}: ExtrapolationRun): Promise<number> {
  const problem = await leastSquares(seed);
  const optimizer = trustRegionMomentum<Tensor>({ norm: iteratedSpectral, radius, momentum, extrapolate });
  type State = ReturnType<typeof optimizer.init>;
  const run = jit((start: Tensor) => {
    const [, duals] = scan(
      ([x, state]: readonly [Tensor, State], key: Tensor) => {
        const error = mul(
          1 / Math.sqrt(ROWS * COLUMNS),
          random.normal(key, [ROWS, COLUMNS], { dtype: "float64" }),
        );
        const [updates, next] = optimizer.update(add(gradientOf(problem, x), error), state, x);
        const dual = iteratedSpectral.dual(gradientOf(problem, state.point ?? x));
        return [[add(x, updates), next] as const, dual] as const;
      },
      [start, optimizer.init(start)] as const,
      random.split(random.fold(random.key(seed), 9), steps),
    );
    return duals;
  });
  const duals = [...(await data(await run(zeros([ROWS, COLUMNS], "float64"))))].slice(steps / 2);
  await run.release();
  return duals.reduce((a, b) => a + b) / duals.length;
}
