import { requireTokens, type Tokenizer } from "./tokenizer.ts";

/** Ends a document in GPT-2's training text. */
export const GPT2_END_OF_TEXT = 50256;

/**
 * GPT-2's byte-pair encoding (50,257 tokens), by the library gpt-tokenizer; its half a megabyte of merges is loaded
 * when this is called. Any text can be encoded; text that reads `<|endoftext|>` is text, not the token.
 */
export async function gpt2Tokenizer(): Promise<Tokenizer> {
  const { encode, decode, vocabularySize } = await import("gpt-tokenizer/encoding/gpt2");
  return {
    vocabulary: vocabularySize,
    encode: (text) => Int32Array.from(encode(text, { disallowedSpecial: new Set() })),
    decode(tokens) {
      requireTokens("gpt2Tokenizer", tokens, vocabularySize);
      return decode(Array.from(tokens));
    },
  };
}
