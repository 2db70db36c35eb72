import { random } from "@prior-art/tensor";
import { decoder, dpo, fullFineTuning, trainPreferences } from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";
import { adam } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { realign } from "./method.ts";

const entries: Readonly<Record<string, Contender>> = {
  deraOnDpo: {
    label: "DPO, realigned at decoding time",
    space: { learningRate: [3e-4, 1e-3], lambda: [0.5, 0.75, 1.5] },
    fixed: { beta: 0.2 },
    async align(
      { model, reference, chosen, rejected, steps, batchSize, seed },
      { learningRate, beta, lambda },
    ) {
      const { params } = await trainPreferences({
        model,
        base: reference,
        adapter: fullFineTuning<TransformerParams>(),
        loss: dpo({ beta: beta! }),
        optimizer: adam({ learningRate: learningRate! }),
        chosen,
        rejected,
        steps,
        batchSize,
        key: random.key(seed),
      });
      return realign(decoder(model, reference), decoder(model, params), lambda!);
    },
  },
};
export default entries;
