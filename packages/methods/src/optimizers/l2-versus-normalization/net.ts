import {
  add,
  div,
  matmul,
  mean,
  mul,
  ones,
  random,
  relu,
  sqrt,
  stack,
  sub,
  sum,
  type Tensor,
  zeros,
} from "@prior-art/tensor";
import { initializers } from "@prior-art/toolkit/nn";
import { type GradientTransformation, stateless } from "@prior-art/toolkit/optim";
import { digitParts } from "../cells.ts";
import { normalizedLinear } from "./method.ts";

const SIZES = [64, 128, 128, 10] as const;
export const BATCH = 64;

export interface Net {
  /** `[inputs, outputs]` of the hidden layers, which the penalty is on. */
  readonly hidden: readonly Tensor[];
  readonly gains: readonly Tensor[];
  readonly biases: readonly Tensor[];
  readonly out: { readonly weight: Tensor; readonly bias: Tensor };
}

/** He's initialization, which gives the hidden layers Frobenius norms of about 16. */
export function initial(seed: number, dtype: "float32" | "float64" = "float32"): Net {
  const key = random.key(seed);
  const weight = (i: number) => initializers.he()(random.fold(key, i), [SIZES[i]!, SIZES[i + 1]!], dtype);
  return {
    hidden: [weight(0), weight(1)],
    gains: [ones([SIZES[1]], dtype), ones([SIZES[2]], dtype)],
    biases: [zeros([SIZES[1]], dtype), zeros([SIZES[2]], dtype)],
    out: { weight: weight(2), bias: zeros([SIZES[3]], dtype) },
  };
}

/** Logits; a normalized net takes means and variances from the rows of `x`. */
export function logitsOf(
  { hidden, gains, biases, out }: Net,
  x: Tensor,
  normalized: boolean,
  eps = 1e-5,
): Tensor {
  const last = hidden.reduce((h, w, i) => {
    const z = normalized
      ? normalizedLinear(h, w, { gain: gains[i]!, bias: biases[i]!, eps })
      : add(matmul(h, w), biases[i]!);
    return relu(z);
  }, x);
  return add(matmul(last, out.weight), out.bias);
}

/** Logits of held-out examples, normalized by the statistics of the training set. */
export function heldOutLogits(net: Net, train: Tensor, x: Tensor, eps = 1e-5): Tensor {
  let [known, held] = [train, x];
  net.hidden.forEach((w, i) => {
    const z = matmul(known, w);
    const centre = mean(z, 0);
    const deviation = sqrt(add(mean(mul(sub(z, centre), sub(z, centre)), 0), eps));
    const layer = (h: Tensor): Tensor =>
      relu(add(mul(net.gains[i]!, div(sub(matmul(h, w), centre), deviation)), net.biases[i]!));
    [known, held] = [layer(known), layer(held)];
  });
  return add(matmul(held, net.out.weight), net.out.bias);
}

/** The gradient of `λ‖w‖²` on the hidden layers. */
export const penalty = (lambda: number | Tensor): GradientTransformation<Net, null> =>
  stateless((g, p) => ({
    ...g,
    hidden: g.hidden.map((t, i) => add(t, mul(2, mul(lambda, p.hidden[i]!)))),
  }));

export const norms = (net: Net): Tensor => stack(net.hidden.map((w) => sqrt(sum(mul(w, w)))));

export const digitsOf = (seed: number, train: number) =>
  digitParts({ train, validation: 0, test: 900, seed });
