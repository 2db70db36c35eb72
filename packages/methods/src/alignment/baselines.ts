import { data, jit, random, type Tensor, tensor } from "@prior-art/tensor";
import {
  decoder,
  dpo,
  fineTune,
  fullFineTuning,
  reinforce,
  trainPolicy,
  trainPreferences,
} from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";
import { adam } from "@prior-art/toolkit/optim";
import { END } from "./chainLanguage.ts";
import type { Contender } from "./family.ts";
import { type RewardParams, rewardOf } from "./rewardModel.ts";
import { LENGTH, START } from "./wordModel.ts";

const full = fullFineTuning<TransformerParams>();

/** What the field does without any paper of this family. */
export const baselines: Readonly<Record<string, Contender>> = {
  reference: { label: "Reference", align: async ({ model, reference }) => decoder(model, reference) },
  chosenOnly: {
    label: "Fine-tuning on chosen words",
    space: { learningRate: [3e-5, 1e-4, 3e-4, 1e-3] },
    async align({ model, reference, chosen, steps, batchSize, seed }, { learningRate }) {
      const { params } = await fineTune({
        model,
        base: reference,
        adapter: full,
        optimizer: adam({ learningRate: learningRate! }),
        data: chosen,
        steps,
        batchSize,
        key: random.key(seed),
      });
      return decoder(model, params);
    },
  },
  dpo: {
    label: "DPO",
    space: { learningRate: [3e-4, 1e-3], beta: [0.1, 0.2, 0.4] },
    async align({ model, reference, chosen, rejected, steps, batchSize, seed }, { learningRate, beta }) {
      const { params } = await trainPreferences({
        model,
        base: reference,
        adapter: full,
        loss: dpo({ beta: beta! }),
        optimizer: adam({ learningRate: learningRate! }),
        chosen,
        rejected,
        steps,
        batchSize,
        key: random.key(seed),
      });
      return decoder(model, params);
    },
  },
  reinforce: {
    label: "REINFORCE with KL, learned reward",
    space: { learningRate: [3e-4, 1e-3], beta: [0.2, 0.4, 0.8] },
    async align(task, { learningRate, beta }) {
      const { model, reference, steps, batchSize, seed } = task;
      const { params: judge } = await task.rewardModel();
      const score = jit((params: RewardParams, tokens: Tensor, mask: Tensor) =>
        rewardOf(model, params, tokens, mask),
      );
      let params = reference;
      for await (const round of trainPolicy({
        model,
        params: reference,
        objective: reinforce({ klCoefficient: beta! }),
        optimizer: adam<TransformerParams>({ learningRate: learningRate! }),
        prompts: () => Int32Array.of(START),
        promptLength: 1,
        promptsPerRound: 1,
        group: batchSize,
        length: LENGTH,
        end: END,
        rewards: async ({ tokens, mask, completions, length }) => {
          const shape = [completions, length];
          return data(
            await score(judge, tensor(tokens, { shape }), tensor(Float32Array.from(mask), { shape })),
          );
        },
        rounds: steps,
        key: random.key(seed),
      }))
        ({ params } = round);
      await score.release();
      return decoder(model, params);
    },
  },
};
