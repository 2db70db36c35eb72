import {
  add,
  data,
  evaluate,
  jit,
  linalg,
  matmul,
  mul,
  random,
  scan,
  sub,
  sum,
  type Tensor,
  tensor,
  transpose,
  treeMap,
  zerosLike,
} from "@prior-art/tensor";
import { adam, applyUpdates, type GradientTransformation } from "@prior-art/toolkit/optim";
import { galore, onlineSubspaceDescent } from "./method.ts";

/**
 * One explicit Euler step of length `h` of the damped Hamiltonian flow `Ẇ = -M`, `Ṁ = G - aM`: the momentum moves on
 * the old weights' gradient, and the weights by the old momentum.
 */
export const momentumFlow = <P>(
  h: number,
  damping: number,
): GradientTransformation<P, { readonly momentum: P }> => ({
  init: (params) => ({ momentum: treeMap(zerosLike, params) }),
  update: (gradients, { momentum }) => [
    treeMap((m) => mul(-h, m), momentum),
    { momentum: treeMap((m, g) => add(m, mul(h, sub(g, mul(damping, m)))), momentum, gradients) },
  ],
});

/** `jumping`: random subspaces anew at every step; `random`: after each 5 units of time. */
export type PathRule = "frozen" | "jumping" | "random" | "pca";

/** The optimizer of each path of subspaces. */
export const rulesOf = ({ h, steps, rank, seed }: FlowOptions, damping: number) => {
  const base = momentumFlow<Tensor>(h, damping);
  /** No subspace comes twice. */
  const randomEvery = (updateGap: number) =>
    galore(base, {
      rank,
      scale: 1,
      updateGap,
      projection: "random",
      seed,
      draws: Math.ceil(steps / updateGap),
    });
  return {
    frozen: galore(base, { rank, scale: 1, updateGap: Number.POSITIVE_INFINITY }),
    jumping: randomEvery(1),
    random: randomEvery(Math.round(5 / h)),
    // The same path of subspaces in physical time, whatever the step.
    pca: onlineSubspaceDescent(base, { rank, pca: { optimizer: adam({ learningRate: 0.5 * h }) } }),
  };
};

export interface FlowOptions {
  readonly rule: PathRule;
  readonly seed: number;
  readonly h: number;
  readonly steps: number;
  readonly rank: number;
  readonly size?: number;
  readonly damping?: number;
}

export interface Flow {
  /** `L(W)` before each step and after the last, over `L` at the start. */
  readonly loss: readonly number[];
  /** `H = L(W) + ½‖M‖²`, likewise over its start. */
  readonly energy: readonly number[];
  /** Largest `|ΔH + h·a‖M‖²|` of a step: how far it is from the flow's own loss of energy. */
  readonly error: number;
}

/**
 * The flow on least squares `½‖A(W - W*)‖²` with `W` `[size, size]` and singular values of A from 1 down to 0.3, in float64,
 * from `W = 0` and no momentum.
 */
export async function flow(options: FlowOptions): Promise<Flow> {
  const { rule, seed, h, steps, size = 64, damping = 1 } = options;
  const normal = (i: number): Tensor =>
    random.normal(random.fold(random.key(seed), i), [size, size], { dtype: "float64" });
  const [left, right] = [linalg.qr(normal(0)).q, linalg.qr(normal(1)).q];
  const values = tensor(Float64Array.from({ length: size }, (_, i) => 0.3 ** (i / (size - 1))));
  const a = matmul(mul(left, values), transpose(right));
  const best = normal(2);
  await evaluate({ a, best });
  const optimizer = rulesOf(options, damping)[rule];
  const lossOf = (w: Tensor): Tensor => {
    const residual = matmul(a, sub(w, best));
    return mul(0.5, sum(mul(residual, residual)));
  };
  type State = ReturnType<typeof optimizer.init>;
  const measures = (w: Tensor, { base: { momentum } }: State): Tensor[] => [
    lossOf(w),
    sum(mul(momentum, momentum)),
  ];
  const run = jit(() => {
    const start = zerosLike(best);
    const [last, path] = scan(
      ([w, state]: readonly [Tensor, State]) => {
        const gradient = matmul(transpose(a), matmul(a, sub(w, best)));
        const [updates, next] = optimizer.update(gradient, state as never, w);
        return [[applyUpdates(w, updates), next as State] as const, measures(w, state)] as const;
      },
      [start, optimizer.init(start) as State] as const,
      null,
      { length: steps },
    );
    return { path, last: measures(...last) };
  });
  const { path, last } = await run();
  await run.release();
  const [loss, square] = await Promise.all(
    [0, 1].map(async (i) => [...(await data(path[i]!)), ...(await data(last[i]!))]),
  );
  const energy = loss!.map((l, t) => l + square![t]! / 2);
  const error = energy
    .slice(1)
    .reduce((worst, e, t) => Math.max(worst, Math.abs(e - energy[t]! + h * damping * square![t]!)), 0);
  return {
    loss: loss!.map((l) => l / loss![0]!),
    energy: energy.map((e) => e / energy[0]!),
    error: error / energy[0]!,
  };
}
