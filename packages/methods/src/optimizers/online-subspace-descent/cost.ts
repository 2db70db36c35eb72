import {
  data,
  evaluate,
  jit,
  linalg,
  matmul,
  random,
  reshape,
  slice,
  type Tensor,
  transpose,
} from "@prior-art/tensor";
import { quantile } from "@prior-art/toolkit/stats";
import { leadingVectors } from "../lowRank.ts";
import { onlineSubspaces } from "./method.ts";

/**
 * The `rank` leading left singular vectors of a matrix, nearly: `[n, rank]`, orthonormal, by subspace iteration from a
 * random start `[n, rank]`, two rounds of it, with thin products and QR decompositions only.
 */
export function approximateVectors(matrix: Tensor, start: Tensor): Tensor {
  let q = start;
  for (let round = 0; round < 2; round++) q = linalg.qr(matmul(matrix, matmul(transpose(matrix), q))).q;
  return q;
}

/** Median milliseconds of three runs after a first one. */
async function milliseconds(run: () => Promise<Tensor>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 4; i++) {
    const start = performance.now();
    await data(slice(reshape(await run(), [-1]), [0, 1]));
    times.push(performance.now() - start);
  }
  return quantile(times.slice(1), 0.5);
}

export type UpdateTimes = {
  /** Of a projection's whole step of online PCA: its gradient, Adam, and the update. */
  readonly pcaTime: number;
  /** Of the leading vectors by all eigenvectors of the Gram matrix. */
  readonly svdTime: number;
  /** Of the leading vectors by subspace iteration. */
  readonly iterationTime: number;
};

/** Milliseconds of a new projection of a `[side, side]` gradient, by each rule. */
export async function updateTimes(seed: number, side: number, rank: number): Promise<UpdateTimes> {
  const gradient = random.normal(random.key(seed), [side, side]);
  const start = random.normal(random.fold(random.key(seed), 1), [side, rank]);
  const rule = onlineSubspaces();
  const subspaces = { ...rule.init([gradient], rank), projections: [linalg.qr(start).q] };
  await evaluate({ gradient, start, subspaces });
  const [svd, iteration, pca] = [
    jit((g: Tensor) => leadingVectors(g, rank)),
    jit(approximateVectors),
    jit((g: Tensor, before: typeof subspaces) => rule.advance!([g], before)),
  ];
  const times = {
    svdTime: await milliseconds(() => svd(gradient)),
    iterationTime: await milliseconds(() => iteration(gradient, start)),
    pcaTime: await milliseconds(async () => (await pca(gradient, subspaces)).projections[0]!),
  };
  for (const compiled of [svd, iteration, pca]) await compiled.release();
  return times;
}
