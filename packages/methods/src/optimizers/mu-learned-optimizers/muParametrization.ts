import { add, matmul, mul, random, relu, type Tensor, zeros } from "@prior-art/tensor";
import type { MlpParams } from "@prior-art/toolkit/nn";
import { mapPaths } from "@prior-art/toolkit/optim";

/** Maximal-update or standard parametrization. */
export type Parametrization = "mup" | "sp";

export interface ParametrizedMlpOptions {
  readonly inputs: number;
  readonly width: number;
  /** Hidden layers, at least 1; all but the first have matrices that grow in both directions. */
  readonly depth: number;
  readonly outputs: number;
}

/** The multiplier of an optimizer's update of a parameter, by its path in the tree. */
export type UpdateScale = (path: string, parameter: Tensor) => number;

export interface ParametrizedMlp {
  init(key: Tensor): MlpParams;
  /** `[…, inputs] → […, outputs]` */
  apply(params: MlpParams, x: Tensor): Tensor;
  /** What comes out of each layer before its nonlinearity, the logits last. */
  preactivations(params: MlpParams, x: Tensor): Tensor[];
  /** 1/fan-in for the hidden matrices under μP, else 1. */
  readonly updateScale: UpdateScale;
}

/**
 * A rectifier network in maximal-update or standard parametrization, for optimizers whose updates have the same size
 * whatever the gradient's (Adam, learned ones):
 *
 * | | deviation of weights | of biases | multiplier | update |
 * |---|---|---|---|---|
 * | μP: input | 1/√fan-in | 1 | 1 | 1 |
 * | μP: hidden | 1/√fan-in | 1 | 1 | 1/fan-in |
 * | μP: output | 0 | 1 for none, 0 here | 1/fan-in | 1 |
 * | SP | 1/√fan-in | 1 (output: 0) | 1 | 1 |
 *
 * @throws RangeError unless sizes are whole and positive.
 */
export function muParametrize(
  { inputs, width, depth, outputs }: ParametrizedMlpOptions,
  parametrization: Parametrization,
): ParametrizedMlp {
  for (const [name, value] of Object.entries({ inputs, width, depth, outputs }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`muParametrize: ${name} must be a whole number of at least 1, got ${value}`);
  const sizes = [inputs, ...new Array<number>(depth).fill(width), outputs];
  const last = depth;
  const isMup = parametrization === "mup";
  const preactivations = ({ layers }: MlpParams, x: Tensor): Tensor[] => {
    const all: Tensor[] = [];
    let input = x;
    layers.forEach(({ weight, bias }, i) => {
      const product = matmul(input, weight);
      const z = add(isMup && i === last ? mul(1 / width, product) : product, bias!);
      all.push(z);
      input = relu(z);
    });
    return all;
  };
  return {
    init: (key) => ({
      layers: sizes.slice(1).map((to, i) => {
        const from = sizes[i]!;
        const [weightKey, biasKey] = random.keys(random.fold(key, i)) as [Tensor, Tensor];
        return {
          weight:
            isMup && i === last
              ? zeros([from, to])
              : mul(1 / Math.sqrt(from), random.normal(weightKey, [from, to])),
          bias: i === last ? zeros([to]) : random.normal(biasKey, [to]),
        };
      }),
    }),
    preactivations,
    apply: (params, x) => preactivations(params, x).at(-1)!,
    updateScale: muUpdateScale(parametrization, last),
  };
}

/** The update scales of a perceptron's parameters (`layers[i].weight` and `.bias`) whose output layer is number `last`. */
const muUpdateScale =
  (parametrization: Parametrization, last: number): UpdateScale =>
  (path, parameter) => {
    const [, layer, name] = /layers\[(\d+)\]\.(\w+)$/.exec(path) ?? [];
    const isHidden = name === "weight" && Number(layer) > 0 && Number(layer) < last;
    return parametrization === "mup" && isHidden ? 1 / parameter.shape[0]! : 1;
  };

/** A tree's update scales as a list, in the order of its tensors. */
export function listScales(params: unknown, scale: UpdateScale): number[] {
  const scales: number[] = [];
  mapPaths(params, (path, parameter) => {
    scales.push(scale(path, parameter));
    return parameter;
  });
  return scales;
}
