import { add, mul, random, sub, sum, type Tensor, treeLeaves } from "@prior-art/tensor";
import { fineTune, fullFineTuning, lora } from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";
import { adam } from "@prior-art/toolkit/optim";
import type { Contender } from "./family.ts";

/** `Σ (w − w₀)²` over all weights. */
const squaredDistance = (weights: TransformerParams, base: TransformerParams): Tensor => {
  const start = treeLeaves(base);
  return treeLeaves(weights)
    .map((w, i) => sub(w, start[i]!))
    .map((d) => sum(mul(d, d)))
    .reduce((total, square) => add(total, square));
};

/** What the field does without any paper of this family. */
export const baselines = {
  frozen: { label: "No fine-tuning", fineTune: async ({ base }) => base },
  full: {
    label: "Full fine-tuning",
    space: { learningRate: [3e-5, 1e-4, 3e-4, 1e-3] },
    async fineTune({ model, base, texts, steps, batchSize, seed }, { learningRate }) {
      const { params } = await fineTune({
        model,
        base,
        adapter: fullFineTuning<TransformerParams>(),
        optimizer: adam({ learningRate: learningRate! }),
        data: texts,
        steps,
        batchSize,
        key: random.key(seed),
      });
      return params;
    },
  },
  l2sp: {
    label: "Full, L2 to the start",
    space: { learningRate: [3e-4, 1e-3], strength: [0.003, 0.01, 0.03] },
    async fineTune({ model, base, texts, steps, batchSize, seed }, { learningRate, strength }) {
      const { params } = await fineTune({
        model,
        base,
        adapter: fullFineTuning<TransformerParams>(),
        optimizer: adam({ learningRate: learningRate! }),
        penalty: (_, weights) => mul(strength!, squaredDistance(weights, base)),
        data: texts,
        steps,
        batchSize,
        key: random.key(seed),
      });
      return params;
    },
  },
  lora: {
    label: "LoRA",
    space: { learningRate: [3e-4, 1e-3, 3e-3], alpha: [4, 16] },
    fixed: { rank: 4 },
    async fineTune({ model, base, texts, steps, batchSize, seed }, { learningRate, alpha, rank }) {
      const { params } = await fineTune({
        model,
        base,
        adapter: lora<TransformerParams>({ rank: rank!, alpha: alpha! }),
        optimizer: adam({ learningRate: learningRate! }),
        data: texts,
        steps,
        batchSize,
        key: random.key(seed),
      });
      return params;
    },
  },
} as const satisfies Readonly<Record<string, Contender>>;
