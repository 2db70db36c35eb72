import { createHash } from "node:crypto";
import type { Embedder } from "../search/embedding/embedder.ts";
import { stemsOf } from "../search/text/terms.ts";

const DIMENSIONS = 64;

/** Embeds a text as the sum of pseudo-random vectors of its words: instant, and similar for texts that share words. */
export function hashingEmbedder(model: string): Embedder {
  return {
    model,
    dimensions: DIMENSIONS,
    embed: async (texts) => texts.map((text) => embed(model, text)),
  };
}

function embed(model: string, text: string): Float32Array {
  const vector = new Float32Array(DIMENSIONS);
  for (const stem of stemsOf(text)) {
    const digest = createHash("sha512").update(`${model} ${stem}`).digest();
    for (let index = 0; index < DIMENSIONS; index++) vector[index]! += digest[index]! - 127.5;
  }
  const length = Math.hypot(...vector) || 1;
  return vector.map((component) => component / length);
}
