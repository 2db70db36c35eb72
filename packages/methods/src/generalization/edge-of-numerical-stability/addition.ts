import {
  cast,
  data,
  grad,
  jit,
  mean,
  random,
  scan,
  stack,
  type Tensor,
  valueAndGrad,
} from "@prior-art/tensor";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { accuracy } from "@prior-art/toolkit/nn";
import {
  addDecayedWeights,
  applyUpdates,
  chain,
  type GradientTransformation,
  scaleByAdam,
  scaleByLearningRate,
} from "@prior-art/toolkit/optim";
import { type HomogeneousParams, homogeneousMlp, modularAddition } from "../modularAddition.ts";
import {
  isCollapsed,
  orthogonalGradient,
  scalingCosine,
  softmaxCrossEntropy,
  stableMaxCrossEntropy,
} from "./method.ts";

export interface AdditionOptions {
  readonly loss: "softmax32" | "softmax64" | "stableMax";
  /** Project gradients orthogonally to the weights. */
  readonly orthogonal: boolean;
  /** Decoupled, times the learning rate. */
  readonly weightDecay: number;
  readonly modulus: number;
  readonly steps: number;
  /** Steps from one point of the curves to the next. */
  readonly every: number;
  readonly seed: number;
}

export interface AdditionPoint {
  readonly step: number;
  readonly loss: number;
  readonly trainAccuracy: number;
  readonly testAccuracy: number;
  /** Share of the training sums whose Softmax (or StableMax) has collapsed in the precision of the loss. */
  readonly collapsed: number;
  /** Cosine of the weights and the negative of the gradient that the optimizer gets. */
  readonly alignment: number;
}

const lossOf = (kind: AdditionOptions["loss"], logits: Tensor, labels: Tensor): Tensor =>
  kind === "stableMax"
    ? stableMaxCrossEntropy(logits, labels)
    : softmaxCrossEntropy(logits, labels, kind === "softmax64" ? "float64" : "float32");

const collapsedShare = (kind: AdditionOptions["loss"], logits: Tensor, labels: Tensor): Tensor => {
  const seen = kind === "softmax32" ? logits : cast(logits, "float64");
  return mean(cast(isCollapsed(seen, labels, kind === "stableMax" ? "stableMax" : "softmax"), "float32"));
};

/**
 * Full-batch AdamW (rate 0.01, moments 0.9 and 0.99) on addition modulo M with 70% of the sums. Adam's ε is 1e-25, so that
 * it follows gradients however small they are, as in the authors' code.
 * @throws DivergedError when the loss is not finite.
 */
export async function* additionCourse(options: AdditionOptions): AsyncGenerator<AdditionPoint, void> {
  const { loss: kind, orthogonal, weightDecay, modulus, steps, every, seed } = options;
  const { train, test } = modularAddition({ modulus, trainShare: 0.7, seed });
  const network = homogeneousMlp([2 * modulus, 128, 128, modulus]);
  const projection = orthogonalGradient<HomogeneousParams>();
  const optimizer: GradientTransformation<HomogeneousParams, unknown> = chain(
    scaleByAdam<HomogeneousParams>({ betas: [0.9, 0.99], eps: 1e-25 }),
    addDecayedWeights<HomogeneousParams>(weightDecay),
    scaleByLearningRate<HomogeneousParams>(0.01),
  );
  const loss = (params: HomogeneousParams): Tensor =>
    lossOf(kind, network.apply(params, train.inputs), train.labels);
  const passed = (gradients: HomogeneousParams, params: HomogeneousParams): HomogeneousParams =>
    orthogonal ? projection.update(gradients, null, params)[0] : gradients;

  const params = network.init(random.key(seed));
  let state = [params, optimizer.init(params)] as const;
  const run = jit((start: typeof state) => {
    const [after] = scan(
      ([before, memory]: typeof state, _: null) => {
        const [, gradients] = valueAndGrad(loss)(before);
        const [updates, next] = optimizer.update(passed(gradients, before), memory, before);
        return [[applyUpdates(before, updates), next] as const, null];
      },
      start,
      null,
      { length: every },
    );
    const [weights] = after;
    const logits = network.apply(weights, train.inputs);
    const point = stack([
      lossOf(kind, logits, train.labels),
      accuracy(logits, train.labels),
      accuracy(network.apply(weights, test.inputs), test.labels),
      collapsedShare(kind, logits, train.labels),
      scalingCosine(passed(grad(loss)(weights), weights), weights),
    ]);
    return [after, point] as const;
  });
  try {
    for (let step = every; step <= steps; step += every) {
      const [after, point] = await run(state);
      state = after;
      const [value, trainAccuracy, testAccuracy, collapsed, alignment] = [...(await data(point))] as [
        number,
        number,
        number,
        number,
        number,
      ];
      if (!Number.isFinite(value)) throw new DivergedError(`the loss is ${value} at step ${step}`);
      yield { step, loss: value, trainAccuracy, testAccuracy, collapsed, alignment };
    }
  } finally {
    await run.release();
  }
}
