import type { RandomStream } from "../../stats/index.ts";
import type { CharacterTokenizer } from "../tokenizers/character.ts";

/** A question with one right answer out of possibly several. */
export interface TaskExample {
  /** Always of the task's prompt length. */
  readonly prompt: string;
  /** An answer that verifies, without the end mark. */
  readonly answer: string;
}

/** Questions that a program can make and whose answers a program can check. */
export interface VerifiableTask {
  /** Its alphabet holds all characters of the task and the end mark. */
  readonly tokenizer: CharacterTokenizer;
  /** Ends an answer; never part of one. */
  readonly end: string;
  /** Characters of every prompt. */
  readonly promptLength: number;
  /** Characters of the longest answer, without the end mark. */
  readonly answerLength: number;
  generate(stream: RandomStream): TaskExample;
  /** Whether a completion, without the end mark, answers the prompt. Anything may be asked, garbage too. */
  verify(prompt: string, completion: string): boolean;
}

/** Examples as tokens, row after row. */
export interface EncodedExamples {
  /** `[count, promptLength]` */
  readonly prompts: Int32Array;
  /** Prompt, answer and end marks up to `length`, `[count, length]`. */
  readonly tokens: Int32Array;
  /** 1 at the answer's tokens and the first end mark, else 0; `[count, length]`. */
  readonly mask: Float32Array;
  readonly count: number;
  /** `promptLength + answerLength + 1` */
  readonly length: number;
}

/** Examples written out for training: prompts, and prompts with answers. */
export function encodeExamples(task: VerifiableTask, examples: readonly TaskExample[]): EncodedExamples {
  const { tokenizer, promptLength, answerLength, end } = task;
  const length = promptLength + answerLength + 1;
  const count = examples.length;
  const prompts = new Int32Array(count * promptLength);
  const tokens = new Int32Array(count * length).fill(tokenizer.id(end));
  const mask = new Float32Array(count * length);
  examples.forEach(({ prompt, answer }, i) => {
    const encoded = tokenizer.encode(prompt);
    const reply = tokenizer.encode(answer);
    if (encoded.length !== promptLength || reply.length > answerLength)
      throw new RangeError(`encodeExamples: ${JSON.stringify(prompt + answer)} is longer than the task says`);
    prompts.set(encoded, i * promptLength);
    tokens.set(encoded, i * length);
    tokens.set(reply, i * length + promptLength);
    const from = i * length + promptLength;
    mask.fill(1, from, from + reply.length + 1);
  });
  return { prompts, tokens, mask, count, length };
}

/** Whether each completion answers its prompt (1) or not (0); one without an end mark doesn't. */
export function verifyCompletions(task: VerifiableTask, tokens: Int32Array, length: number): Float32Array {
  const { tokenizer, promptLength, end } = task;
  const endId = tokenizer.id(end);
  return Float32Array.from({ length: tokens.length / length }, (_, i) => {
    const row = tokens.subarray(i * length, (i + 1) * length);
    const stop = row.indexOf(endId, promptLength);
    if (stop < 0) return 0;
    const prompt = tokenizer.decode(row.subarray(0, promptLength));
    return task.verify(prompt, tokenizer.decode(row.subarray(promptLength, stop))) ? 1 : 0;
  });
}
