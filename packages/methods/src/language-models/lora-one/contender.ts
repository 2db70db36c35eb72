import { random, slice } from "@prior-art/tensor";
import { fineTune } from "@prior-art/toolkit/lm";
import { adam } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { descentDirections, loraOneAdapter } from "./method.ts";

/** Texts of the first gradient, as in the paper. */
const FIRST = 8;

const entries: Readonly<Record<string, Contender>> = {
  loraOne: {
    label: "LoRA-One",
    space: { learningRate: [3e-4, 1e-3, 3e-3], gamma: [128, 1024] },
    fixed: { rank: 4 },
    async fineTune({ model, base, texts, steps, batchSize, seed }, { learningRate, gamma, rank }) {
      const first = { tokens: slice(texts.tokens, [0, FIRST]), mask: slice(texts.mask, [0, FIRST]) };
      const directions = await descentDirections({ model, base, texts: first });
      const { params } = await fineTune({
        model,
        base,
        adapter: loraOneAdapter(directions, { rank: rank!, gamma: gamma! }),
        optimizer: adam({ learningRate: learningRate! }),
        data: texts,
        steps,
        batchSize,
        key: random.key(seed),
      });
      return params;
    },
  },
};
export default entries;
