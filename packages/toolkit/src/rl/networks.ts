import {
  add,
  concat,
  data,
  div,
  expandDims,
  greater,
  mean as meanOf,
  mul,
  random,
  squeeze,
  std,
  sub,
  type Tensor,
  tanh,
  treeMap,
  vmap,
  where,
} from "@prior-art/tensor";
import { type MlpParams, mlp } from "../nn/index.ts";

/** A deterministic policy: a perceptron with its outputs in [−1, 1]. */
export function actorNetwork(observationSize: number, actionSize: number, hidden: readonly number[]) {
  const model = mlp({ sizes: [observationSize, ...hidden, actionSize] });
  return {
    init: model.init,
    /** `[…, observationSize] → […, actionSize]` */
    apply: (params: MlpParams, observations: Tensor): Tensor => tanh(model.apply(params, observations)),
  };
}

/** Several critics as one network with a leading axis, by which they run as batched products. */
export function criticEnsemble(
  observationSize: number,
  actionSize: number,
  hidden: readonly number[],
  members = 2,
) {
  const model = mlp({ sizes: [observationSize + actionSize, ...hidden, 1] });
  return {
    /** Parameters `[members, …]`. */
    init: (key: Tensor): MlpParams => vmap(model.init)(random.split(key, members)),
    /** Q-values `[members, batch]` of `[batch, …]` observations and actions. */
    apply(params: MlpParams, observations: Tensor, actions: Tensor): Tensor {
      const inputs = concat([observations, actions], -1);
      const outputs = vmap((p: MlpParams) => model.apply(p, inputs))(params);
      return squeeze(outputs, -1);
    },
  };
}

/** `(1 − rate) · target + rate · params`: target networks follow slowly. */
export const follow = <P>(target: P, params: P, rate: number): P =>
  treeMap((t, p) => add(t, mul(rate, sub(p, t))), target, params);

/** Mean and standard deviation of observations, `[size]` each, by which networks see them. */
export interface ObservationScale {
  readonly mean: Tensor;
  readonly deviation: Tensor;
}

/** Of a data set; constant coordinates are left as they are. */
export function observationScale(observations: Tensor): ObservationScale {
  const deviation = std(observations, 0);
  return { mean: meanOf(observations, 0), deviation: where(greater(deviation, 1e-3), deviation, 1) };
}

export const scaled = (observations: Tensor, { mean, deviation }: ObservationScale): Tensor =>
  div(sub(observations, mean), deviation);

/** One layer on the host: weights `[inputs, outputs]`, row-major. */
interface HostLayer {
  readonly weight: ArrayLike<number>;
  readonly bias: ArrayLike<number>;
}

/**
 * A perceptron of rectifiers in plain code, to act with between updates: observation in, last layer's outputs out.
 * Far cheaper than a run of a compiled graph for one small example.
 */
export async function hostMlp(params: MlpParams): Promise<(input: ArrayLike<number>) => Float64Array> {
  const layers: HostLayer[] = [];
  for (const { weight, bias } of params.layers)
    layers.push({
      weight: await data(weight),
      bias: bias ? await data(bias) : new Float64Array(weight.shape[1]!),
    });
  return (input) => {
    let values = Float64Array.from(input);
    layers.forEach(({ weight, bias }, i) => {
      const outputs = Float64Array.from(bias);
      for (let a = 0; a < values.length; a++) {
        const value = values[a]!;
        if (value === 0) continue;
        const row = a * outputs.length;
        for (let b = 0; b < outputs.length; b++) outputs[b]! += value * weight[row + b]!;
      }
      if (i < layers.length - 1)
        for (let b = 0; b < outputs.length; b++) outputs[b] = Math.max(0, outputs[b]!);
      values = outputs;
    });
    return values;
  };
}

/** `[batch] → [batch, 1]`. */
export const column = (t: Tensor): Tensor => expandDims(t, -1);
