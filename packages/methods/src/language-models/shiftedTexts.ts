import { evaluate, item, jit, random, type Tensor, tensor } from "@prior-art/tensor";
import { checkpoint } from "@prior-art/toolkit/checkpoints";
import {
  fineTune,
  fullFineTuning,
  lossOn,
  type MarkovSource,
  markovSource,
  markovSourceFrom,
  type TextBatch,
} from "@prior-art/toolkit/lm";
import { type TransformerParams, transformer } from "@prior-art/toolkit/nn";
import { adam, cosineDecay } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";

const LETTERS = 10;
/** Tokens of a text, its first the domain's tag. */
const LENGTH = 16;
/** Two letters of context are needed before a letter can be predicted as well as possible. */
const ORDER = 2;
/** Tags come after the letters: the old domain's, and the new one's, which pretraining has never seen. */
const TAGS = { old: LETTERS, new: LETTERS + 1 } as const;
export type Domain = keyof typeof TAGS;

/** Two layers, 26,000 parameters. */
export const model = transformer({
  vocabulary: LETTERS + 2,
  context: LENGTH,
  width: 32,
  heads: 4,
  layers: 2,
});

const oldSource = markovSource({ vocabulary: LETTERS, order: ORDER, concentration: 0.3, seed: 1 });

/**
 * The new domain: after any context, two cycles of three letters take each other's probabilities. What was learned about
 * contexts stays useful; what follows from them changes.
 */
function shifted(source: MarkovSource): MarkovSource {
  const { vocabulary, transitions } = source;
  const from = [1, 2, 0, 4, 5, 3];
  return markovSourceFrom(
    transitions.map((_, i) => {
      const letter = i % vocabulary;
      return transitions[i - letter + (from[letter] ?? letter)]!;
    }),
    vocabulary,
  );
}

export const sources: Readonly<Record<Domain, MarkovSource>> = { old: oldSource, new: shifted(oldSource) };

/** Texts of a domain: its tag, then letters; those after a whole context count. */
export function texts(domain: Domain, count: number, seed: number, stream: string): TextBatch {
  const letters = sources[domain].sample(count, LENGTH - 1, randomStream(seed, `${domain} ${stream}`));
  const tokens = new Int32Array(count * LENGTH);
  const mask = new Float32Array(count * LENGTH);
  for (let i = 0; i < count; i++) {
    tokens[i * LENGTH] = TAGS[domain];
    tokens.set(letters.subarray(i * (LENGTH - 1), (i + 1) * (LENGTH - 1)), i * LENGTH + 1);
    mask.fill(1, i * LENGTH + 1 + ORDER, (i + 1) * LENGTH);
  }
  const shape = [count, LENGTH];
  return { tokens: tensor(tokens, { shape }), mask: tensor(mask, { shape }) };
}

const PRETRAINING = { texts: 16_384, steps: 2000, batchSize: 64, learningRate: 3e-3, seed: 0 };

/** The model after reading the old domain; within a few hundredths of a nat of its entropy. */
export const pretrained = checkpoint<TransformerParams>({
  name: "markov-reader",
  settings: { ...PRETRAINING, letters: LETTERS, length: LENGTH, order: ORDER, width: 32, layers: 2 },
  async train() {
    const { texts: count, steps, batchSize, learningRate, seed } = PRETRAINING;
    const { params } = await fineTune({
      model,
      base: model.init(random.key(seed)),
      adapter: fullFineTuning<TransformerParams>(),
      optimizer: adam({ learningRate: cosineDecay(learningRate, steps) }),
      data: texts("old", count, seed, "pretraining"),
      steps,
      batchSize,
      key: random.key(seed + 1),
    });
    return params;
  },
});

/** Losses above the best possible, nats a letter. */
export interface ExcessLosses {
  readonly old: number;
  readonly new: number;
}

/** How far weights are from knowing each domain, on texts that no training has seen. */
export async function excessLosses(
  weights: TransformerParams,
  { count, seed, stream }: { readonly count: number; readonly seed: number; readonly stream: string },
): Promise<ExcessLosses> {
  const loss = jit((params: TransformerParams, batch: TextBatch): Tensor => lossOn(model)(params, batch));
  await evaluate(weights);
  const excess = async (domain: Domain): Promise<number> =>
    (await item(await loss(weights, texts(domain, count, seed, stream)))) - sources[domain].entropyRate;
  const result = { old: await excess("old"), new: await excess("new") };
  await loss.release();
  return result;
}
