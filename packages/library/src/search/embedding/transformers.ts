import type { Embedder } from "./embedder.ts";

const OPTIONAL_PACKAGE = "@huggingface/transformers";

/** The one function of transformers.js that is used. */
export interface FeatureExtraction {
  pipeline(
    task: "feature-extraction",
    model: string,
  ): Promise<
    (
      texts: string[],
      options: { pooling: "mean"; normalize: true },
    ) => Promise<{ dims: number[]; data: Float32Array }>
  >;
}

/** Prefix of the configured name that selects a transformers.js model. */
export const TRANSFORMERS_PREFIX = "transformers:";

/**
 * Any sentence-embedding model that transformers.js can run, from its cache or its hub.
 *
 * @param model name or path, such as `Xenova/all-MiniLM-L6-v2`
 * @param load how to get transformers.js; it is not installed with the library because it is large
 * @throws Error with the command to install it when it is missing
 */
export async function transformersEmbedder(model: string, load = loadTransformers): Promise<Embedder> {
  const { pipeline } = await load();
  const extract = await pipeline("feature-extraction", model);
  const embed = async (texts: readonly string[]): Promise<Float32Array[]> => {
    if (texts.length === 0) return [];
    const { dims, data } = await extract([...texts], { pooling: "mean", normalize: true });
    const size = dims.at(-1)!;
    return texts.map((_, index) => data.slice(index * size, (index + 1) * size));
  };
  const [probe] = await embed(["probe"]);
  return { model: TRANSFORMERS_PREFIX + model, dimensions: probe!.length, embed };
}

async function loadTransformers(): Promise<FeatureExtraction> {
  try {
    return (await import(OPTIONAL_PACKAGE)) as FeatureExtraction;
  } catch (cause) {
    throw new Error(`This embedding model needs transformers.js: npm install ${OPTIONAL_PACKAGE}`, { cause });
  }
}
