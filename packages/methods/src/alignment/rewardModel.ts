import {
  div,
  expandDims,
  jit,
  matmul,
  maximum,
  mean,
  mul,
  random,
  softplus,
  squeeze,
  sub,
  sum,
  type Tensor,
  zeros,
} from "@prior-art/tensor";
import type { RewardModel, TextBatch, Transformer } from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";
import { adam, trainSteps } from "@prior-art/toolkit/optim";

/** Weights of a transformer that scores texts. */
export interface RewardParams {
  readonly body: TransformerParams;
  /** `[width, 1]` */
  readonly head: Tensor;
}

/** A reward model with its parameters, which traced functions may take as arguments. */
export interface LearnedReward extends RewardModel {
  readonly params: RewardParams;
}

/** The head on the features' mean over the text's tokens, `[batch]`. */
export function rewardOf(
  model: Transformer,
  { body, head }: RewardParams,
  tokens: Tensor,
  mask: Tensor,
): Tensor {
  const weighed = sum(mul(model.features(body, tokens), expandDims(mask, -1)), 1);
  const pooled = div(weighed, maximum(sum(mask, -1, true), 1));
  return squeeze(matmul(pooled, head), -1);
}

export interface RewardTrainingOptions {
  readonly model: Transformer;
  /** The body to start from. */
  readonly base: TransformerParams;
  readonly width: number;
  readonly chosen: TextBatch;
  readonly rejected: TextBatch;
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly seed: number;
}

/** Maximum likelihood under Bradley and Terry's model: `−log σ(r(chosen) − r(rejected))` (Ouyang et al., 2022, eq. 1). */
export async function trainRewardModel(options: RewardTrainingOptions): Promise<LearnedReward> {
  const { model, base, width, chosen, rejected, steps, batchSize, learningRate, seed } = options;
  const optimizer = adam<RewardParams>({ learningRate });
  const train = jit(
    trainSteps({
      optimizer,
      loss: (params: RewardParams, batch: Readonly<Record<"chosen" | "rejected", TextBatch>>) => {
        const score = ({ tokens, mask }: TextBatch): Tensor => rewardOf(model, params, tokens, mask);
        return mean(softplus(sub(score(batch.rejected), score(batch.chosen))));
      },
    }),
  );
  const [orderKey, stepKey] = random.keys(random.key(seed)) as [Tensor, Tensor];
  const start: RewardParams = { body: base, head: zeros([width, 1]) };
  const rows = random.randint(orderKey, [steps, batchSize], 0, chosen.tokens.shape[0]!);
  const data = { chosen, rejected };
  const [params] = await train(start, optimizer.init(start), data, rows, random.split(stepKey, steps));
  await train.release();
  return { params, score: (tokens, mask) => rewardOf(model, params, tokens, mask) };
}
