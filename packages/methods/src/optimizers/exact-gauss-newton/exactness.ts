import {
  add,
  cast,
  div,
  eye,
  item,
  jacobian,
  linalg,
  matmul,
  matrixTranspose,
  mul,
  neg,
  random,
  reshape,
  sub,
  type Tensor,
  treeLeaves,
  treeMap,
} from "@prior-art/tensor";
import { type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { type ClosureOptimizer, globalNorm, type Objective, ravel } from "@prior-art/toolkit/optim";
import { exactGaussNewton, truncatedGaussNewton } from "./method.ts";
import { outputLoss } from "./outputLoss.ts";
import { BATCH, friedman } from "./sweep.ts";

const DAMPING = 1e-3;

/** Relative errors of directions against the solve of the parameters' size, 321 × 321, in double precision. */
export interface DirectionErrors {
  readonly exact: number;
  /** By iterations of conjugate gradients. */
  readonly truncated: readonly number[];
}

/** Directions of a fresh network on one batch of Friedman's function. */
export async function directionErrors(seed: number, iterations: readonly number[]): Promise<DirectionErrors> {
  const model = mlp({ sizes: [10, 16, 8, 1], activation: "tanh" });
  const double = (t: Tensor): Tensor => cast(t, "float64");
  const { train } = friedman(seed, BATCH);
  const [x, y] = [double(train.x), double(train.y)];
  const params = treeMap(double, model.init(random.key(seed)));
  const predict = (p: MlpParams): Tensor => model.apply(p, x);
  const objective: Objective<MlpParams> = {
    loss: (p) => outputLoss("squaredError", predict(p), y),
    outputs: { predict, targets: y, kind: "squaredError" },
  };

  const rows = jacobian(predict)(params);
  const columns = treeLeaves(rows).map((t) => matrixTranspose(reshape(t, [BATCH, t.size / BATCH])));
  const size = columns.reduce((total, t) => total + t.shape[0]!, 0);
  const transposed = reshape(ravel(columns), [size, BATCH]);
  const curvature = div(matmul(transposed, matrixTranspose(transposed)), BATCH);
  const gradient = div(matmul(transposed, sub(predict(params), y)), BATCH);
  const direct = neg(
    reshape(linalg.solve(add(curvature, mul(DAMPING, eye(size, size, "float64"))), gradient), [size]),
  );

  const errorOf = async <S>(optimizer: ClosureOptimizer<MlpParams, S>): Promise<number> => {
    const [updates] = optimizer.step(objective, optimizer.init(params), params);
    return item(div(globalNorm(sub(ravel(updates), direct)), globalNorm(direct)));
  };
  const truncated: number[] = [];
  for (const count of iterations)
    truncated.push(await errorOf(truncatedGaussNewton({ damping: DAMPING, iterations: count })));
  return { exact: await errorOf(exactGaussNewton({ damping: DAMPING })), truncated };
}
