import { random, type Tensor } from "@prior-art/tensor";
import { type Activation, activationOf } from "./activations.ts";
import * as dense from "./dense.ts";
import { dropout } from "./dropout.ts";
import { type FloatDType, he, type Initializer } from "./initializers.ts";

export interface MlpOptions {
  /** Inputs, hidden widths, outputs. */
  readonly sizes: readonly number[];
  /** Between layers; `"relu"` by default. */
  readonly activation?: Activation;
  /** Share of each hidden layer to drop when `apply` gets a key, 0 by default. */
  readonly dropout?: number;
  /** `he()` by default. */
  readonly weights?: Initializer;
  readonly dtype?: FloatDType;
}

export interface MlpParams {
  readonly layers: readonly dense.DenseParams[];
}

/**
 * A multilayer perceptron.
 * @throws RangeError for fewer than two sizes.
 * @example
 * const model = mlp({ sizes: [64, 32, 10] });
 * const params = model.init(random.key(0));
 * const loss = (p: MlpParams, x: Tensor, labels: Tensor) => crossEntropy(model.apply(p, x), labels);
 * const step = jit((p: MlpParams, x: Tensor, labels: Tensor) => valueAndGrad(loss)(p, x, labels));
 */
export function mlp({
  sizes,
  activation = "relu",
  dropout: rate = 0,
  weights = he(),
  dtype = "float32",
}: MlpOptions) {
  if (sizes.length < 2) throw new RangeError(`mlp: inputs and outputs are needed, got [${sizes.join(", ")}]`);
  const activate = activationOf(activation);
  /** What the last layer sees, `[…, inputs] → […, last hidden width]`; with a key, in training mode. */
  const features = ({ layers }: MlpParams, x: Tensor, key?: Tensor): Tensor =>
    layers.slice(0, -1).reduce((input, layer, i) => {
      const active = activate(dense.apply(layer, input));
      return key ? dropout(random.fold(key, i), active, rate) : active;
    }, x);
  return {
    init: (key: Tensor): MlpParams => ({
      layers: sizes
        .slice(1)
        .map((outputs, i) => dense.init(random.fold(key, i), { inputs: sizes[i]!, outputs, weights, dtype })),
    }),
    features,
    /** `[…, inputs] → […, outputs]`; with a key, in training mode. */
    apply: (params: MlpParams, x: Tensor, key?: Tensor): Tensor =>
      dense.apply(params.layers.at(-1)!, features(params, x, key)),
  };
}
