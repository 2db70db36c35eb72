import {
  add,
  cast,
  data,
  div,
  evaluate,
  greaterEqual,
  jit,
  less,
  matmul,
  mean,
  mul,
  random,
  scan,
  sub,
  type Tensor,
  take,
  tanh,
  tensor,
  treeLeaves,
  treeMap,
  valueAndGrad,
  vmap,
  zeros,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { iteratedSpectral } from "./geometry.ts";
import { CLASSES, FEATURES, noisyExamples } from "./logistic.ts";
import { iterate, trustRegionMomentum } from "./method.ts";

/** A loss over examples whose Hessian is Lipschitz but not constant. */
export interface Curved<P> {
  readonly examples: number;
  readonly start: P;
  /** Mean loss of the rows, all of them when left out. */
  loss(params: P, rows?: Tensor): Tensor;
}

const normal = (key: Tensor, i: number, shape: readonly number[]): Tensor =>
  random.normal(random.fold(key, i), shape, { dtype: "float64" });

/** Softmax regression on 500 noisy examples: convex. */
export async function curvedRegression(seed: number): Promise<Curved<Tensor>> {
  const { inputs, labels } = await noisyExamples(seed);
  return {
    examples: labels.size,
    start: zeros([FEATURES, CLASSES], "float64"),
    loss: (w, rows) =>
      rows
        ? crossEntropy(matmul(take(inputs, rows), w), take(labels, rows))
        : crossEntropy(matmul(inputs, w), labels),
  };
}

export interface Layers {
  readonly first: Tensor;
  readonly second: Tensor;
}

/** Squared error of a small tanh network on noisy outputs of another: not convex. */
export async function curvedNetwork(seed: number): Promise<Curved<Layers>> {
  const [examples, inputs, hidden, outputs] = [400, 10, 8, 4];
  const key = random.key(seed);
  const x = normal(key, 0, [examples, inputs]);
  const apply = ({ first, second }: Layers, rows: Tensor): Tensor =>
    matmul(tanh(matmul(rows, first)), second);
  const layers = (i: number): Layers => ({
    first: mul(1 / Math.sqrt(inputs), normal(key, i, [inputs, hidden])),
    second: mul(1 / Math.sqrt(hidden), normal(key, i + 1, [hidden, outputs])),
  });
  const teacher = layers(1);
  const y = add(
    apply({ first: mul(2, teacher.first), second: mul(2, teacher.second) }, x),
    mul(0.5, normal(key, 3, [examples, outputs])),
  );
  const start = layers(4);
  await evaluate({ x, y, start });
  return {
    examples,
    start,
    loss: (params, rows) => {
      const error = sub(apply(params, rows ? take(x, rows) : x), rows ? take(y, rows) : y);
      return mul(0.5 * outputs, mean(mul(error, error)));
    },
  };
}

/** Small, so that the gradient's noise is larger than what is left of the gradient. */
const BATCH = 4;

/** p and q of `η ∝ K^(-p)`, `α ∝ K^(-q)`: of the theory without extrapolation, and of that with it. */
const POWERS = { slow: [3 / 4, 1 / 2], fast: [5 / 7, 4 / 7] } as const;

export interface LeftOptions {
  readonly seed: number;
  /** Numbers of steps, K. */
  readonly counts: readonly number[];
  /** c of `η = cK^(-p)`. */
  readonly radiusScale: number;
  /** c of `α = min(1, cK^(-q))`. */
  readonly momentumScale: number;
  readonly powers: keyof typeof POWERS;
  readonly extrapolate: boolean;
}

const list = (values: readonly number[]): Tensor => tensor(new Float64Array(values));

/**
 * The mean dual norm (sum of singular values, over all layers) of the exact gradients at the iterates of the second half
 * of K steps on batches of 4 in the spectral norm, by K. With extrapolation, iterates are not where gradients are taken.
 */
export async function gradientsLeft<P>(
  { examples, start, loss }: Curved<P>,
  { seed, counts, radiusScale, momentumScale, powers, extrapolate }: LeftOptions,
): Promise<number[]> {
  const [p, q] = POWERS[powers];
  const longest = Math.max(...counts);
  const slope = valueAndGrad((x: P, rows: Tensor) => loss(x, rows));
  const exactSlope = valueAndGrad((x: P) => loss(x));
  const run = jit((limits: Tensor, rates: Tensor, shares: Tensor) =>
    vmap((limit: Tensor, radius: Tensor, momentum: Tensor) => {
      const optimizer = trustRegionMomentum<P>({ norm: iteratedSpectral, radius, momentum, extrapolate });
      type State = ReturnType<typeof optimizer.init>;
      const order = random.randint(random.fold(random.key(seed), 9), [longest, BATCH], 0, examples);
      const [[, , total]] = scan(
        ([x, state, sumOf]: readonly [P, State, Tensor], rows: Tensor) => {
          const late = cast(greaterEqual(state.step, mul(0.5, limit)), "float64");
          const now = cast(less(state.step, limit), "float64");
          const dual = treeLeaves(exactSlope(iterate(x, state))[1])
            .map((g) => iteratedSpectral.dual(g))
            .reduce(add);
          const [updates, next] = optimizer.update(slope(x, rows)[1] as P, state, x);
          return [
            [treeMap(add, x, updates), next, add(sumOf, mul(mul(late, now), dual))] as const,
            null,
          ] as const;
        },
        [start, optimizer.init(start), tensor(Float64Array.of(0), { shape: [] })] as const,
        order,
      );
      return div(total, mul(0.5, limit));
    })(limits, rates, shares),
  );
  const left = await run(
    list(counts),
    list(counts.map((k) => radiusScale * k ** -p)),
    list(counts.map((k) => Math.min(1, momentumScale * k ** -q))),
  );
  const values = [...(await data(left))];
  await run.release();
  return values;
}
