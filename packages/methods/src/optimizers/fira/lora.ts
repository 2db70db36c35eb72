import { add, evaluate, matmul, mul, random, type Tensor, zeros } from "@prior-art/tensor";
import type { WindowModelParams } from "@prior-art/toolkit/lm";
import { type TextModel, textModel } from "../markovText.ts";

interface Adapter {
  /** `[inputs, rank]` */
  readonly down: Tensor;
  /** `[rank, outputs]`, 0 at the start. */
  readonly up: Tensor;
}

export interface LoraParams {
  readonly embedding: Tensor;
  readonly output: Tensor;
  readonly expand: Adapter;
  readonly contract: Adapter;
}

/**
 * The text model with its block's matrices frozen at their start and trained by low-rank adapters (Hu et al., 2021),
 * `W = W₀ + down · up`; embedding and output are trained as they are.
 */
export async function loraModel(seed: number, rank: number): Promise<TextModel<LoraParams>> {
  const start = textModel.init(random.key(seed));
  await evaluate(start);
  const { expand, contract } = start.blocks[0]!;
  const adapter = (key: Tensor, { shape: [inputs, outputs] }: Tensor): Adapter => ({
    down: mul(random.normal(key, [inputs!, rank]), 1 / Math.sqrt(inputs!)),
    up: zeros([rank, outputs!]),
  });
  const adapted = (frozen: Tensor, { down, up }: Adapter): Tensor => add(frozen, matmul(down, up));
  return {
    init: (key) => {
      const [first, second] = random.keys(random.fold(key, 1)) as [Tensor, Tensor];
      const { embedding, output } = start;
      return { embedding, output, expand: adapter(first, expand), contract: adapter(second, contract) };
    },
    apply: (params, windows) => {
      const full: WindowModelParams = {
        embedding: params.embedding,
        output: params.output,
        blocks: [{ expand: adapted(expand, params.expand), contract: adapted(contract, params.contract) }],
      };
      return textModel.apply(full, windows);
    },
  };
}
