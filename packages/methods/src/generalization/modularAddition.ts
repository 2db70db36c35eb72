import { matmul, oneHot, random, relu, reshape, type Tensor, tensor } from "@prior-art/tensor";
import { initializers } from "@prior-art/toolkit/nn";
import { randomStream } from "@prior-art/toolkit/stats";

export interface ModularAddition {
  /** M */
  readonly modulus: number;
  /** Share of the M² sums that are for training. */
  readonly trainShare: number;
  readonly seed: number;
}

export interface Sums {
  /** Both summands one-hot, side by side, `[sums, 2M]`. */
  readonly inputs: Tensor;
  /** `a + b mod M`, int32 `[sums]`. */
  readonly labels: Tensor;
}

/**
 * All sums modulo M, split at random.
 * @throws RangeError unless `modulus ≥ 2` is whole and the share leaves sums on both sides.
 */
export function modularAddition({ modulus, trainShare, seed }: ModularAddition): {
  readonly train: Sums;
  readonly test: Sums;
} {
  const count = modulus * modulus;
  const trainCount = Math.round(trainShare * count);
  if (!(Number.isInteger(modulus) && modulus >= 2 && trainCount >= 1 && trainCount < count))
    throw new RangeError(`modularAddition: can't split the sums modulo ${modulus} by ${trainShare}`);
  const order = randomStream(seed, "modular addition").permutation(count);
  const sums = (indices: Int32Array): Sums => {
    const pairs = Int32Array.from(indices, (i) => Math.floor(i / modulus));
    const summands = new Int32Array(2 * indices.length);
    indices.forEach((i, row) => {
      summands[2 * row] = pairs[row]!;
      summands[2 * row + 1] = i % modulus;
    });
    return {
      inputs: reshape(oneHot(tensor(summands, { shape: [indices.length, 2] }), modulus), [
        indices.length,
        2 * modulus,
      ]),
      labels: tensor(Int32Array.from(indices, (i, row) => (pairs[row]! + (i % modulus)) % modulus)),
    };
  };
  return { train: sums(order.slice(0, trainCount)), test: sums(order.slice(trainCount)) };
}

/** Weight matrices `[inputs, outputs]`, first layer first. */
export type HomogeneousParams = readonly Tensor[];

/**
 * A ReLU perceptron without biases: scaling all its L matrices by c scales the logits by cᴸ. Weights start uniform in
 * `±1/√inputs`.
 * @param sizes inputs, hidden widths, outputs
 */
export function homogeneousMlp(sizes: readonly number[]) {
  return {
    init: (key: Tensor): HomogeneousParams =>
      sizes
        .slice(1)
        .map((outputs, i) =>
          initializers.uniform(1 / Math.sqrt(sizes[i]!))(random.fold(key, i), [sizes[i]!, outputs]),
        ),
    apply: (params: HomogeneousParams, x: Tensor): Tensor =>
      params.reduce((input, weight, i) => (i === 0 ? matmul(input, weight) : matmul(relu(input), weight)), x),
  };
}
