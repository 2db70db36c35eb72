/** What is used of the library; its own types want settings that ours don't have. */
declare module "gpt-tokenizer/encoding/gpt2" {
  export function encode(text: string, options: { disallowedSpecial: Set<string> }): number[];
  export function decode(tokens: Iterable<number>): string;
  export const vocabularySize: number;
}
