import {
  add,
  expandDims,
  eye,
  linalg,
  log,
  logSoftmax,
  matmul,
  mul,
  neg,
  oneHot,
  random,
  reshape,
  softmax,
  sub,
  sum,
  type Tensor,
  TensorError,
  transpose,
} from "@prior-art/tensor";

/** A distribution over outputs for each of `[batch]` inputs. */
export interface Policy {
  /** `[samples, batch, size]`; differentiable in the parameters where `reparametrized` says so. */
  sample(key: Tensor, samples: number): Tensor;
  /** log p of outputs `[…, batch, size]`, `[…, batch]`. */
  logProb(outputs: Tensor): Tensor;
  /** In closed form, `[batch]`. */
  entropy(): Tensor;
  /** E of `−(ŷ − y)ᵀU(ŷ − y)` in closed form, `[batch]`; U `[size, size]`, y `[batch, size]`. */
  expectedReward(u: Tensor, target: Tensor): Tensor;
  readonly reparametrized: boolean;
}

/** dᵀU d of differences `[…, size]`, `[…]`. */
export const quadraticForm = (difference: Tensor, u: Tensor): Tensor => {
  const size = difference.shape.at(-1)!;
  if (u.rank !== 2 || u.shape.some((side) => side !== size))
    throw new TensorError(
      "reward",
      `outputs of size ${size} take a U of [${size}, ${size}], got ${u.toString()}`,
    );
  const flat = reshape(difference, [difference.size / size, size]);
  return reshape(sum(mul(matmul(flat, u), flat), -1), difference.shape.slice(0, -1));
};

/**
 * `N(μ, LLᵀ)` with means `[batch, size]` and one lower-triangular factor with a positive diagonal, `[size, size]`.
 * @throws TensorError when the sizes differ.
 */
export function gaussianPolicy(mean: Tensor, factor: Tensor): Policy {
  const size = mean.shape.at(-1)!;
  if (mean.rank !== 2 || factor.rank !== 2 || factor.shape.some((side) => side !== size))
    throw new TensorError(
      "gaussianPolicy",
      `means ${mean.toString()} do not fit a factor ${factor.toString()}`,
    );
  const logDiagonal = sum(log(linalg.diagonal(factor)));
  return {
    reparametrized: true,
    sample(key, samples) {
      const shape = [samples * mean.shape[0]!, size];
      const noise = random.normal(key, shape, { dtype: mean.dtype as "float32" });
      return add(mean, reshape(matmul(noise, transpose(factor)), [samples, ...mean.shape]));
    },
    logProb(outputs) {
      const gap = sub(outputs, mean);
      const flat = reshape(gap, [gap.size / size, size]);
      const z = linalg.triangularSolve(factor, transpose(flat));
      const squares = reshape(sum(mul(z, z), 0), gap.shape.slice(0, -1));
      return sub(sub(mul(-0.5, squares), logDiagonal), 0.5 * size * Math.log(2 * Math.PI));
    },
    entropy: () => add(mul(0, sum(mean, -1)), add(logDiagonal, 0.5 * size * (1 + Math.log(2 * Math.PI)))),
    expectedReward: (u, target) =>
      neg(add(quadraticForm(sub(mean, target), u), sum(mul(u, matmul(factor, transpose(factor)))))),
  };
}

/** `softmax(logits)`, `[batch, classes]`; outputs are one-hot. */
export function categoricalPolicy(logits: Tensor): Policy {
  const [batch, classes] = logits.shape as [number, number];
  const dtype = logits.dtype as "float32";
  const logProbabilities = logSoftmax(logits);
  return {
    reparametrized: false,
    sample: (key, samples) => oneHot(random.categorical(key, logits, [samples, batch]), classes, dtype),
    logProb: (outputs) => sum(mul(outputs, logProbabilities), -1),
    entropy: () => neg(sum(mul(softmax(logits), logProbabilities), -1)),
    expectedReward(u, target) {
      const all = expandDims(eye(classes, classes, dtype), 1);
      const rewards = neg(quadraticForm(sub(all, expandDims(target, 0)), u));
      return sum(mul(transpose(softmax(logits)), rewards), 0);
    },
  };
}
