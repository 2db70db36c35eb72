import { characterTokenizer } from "../tokenizers/character.ts";
import type { VerifiableTask } from "./task.ts";

const DIGITS = "0123456789";
const END = ".";

export interface AdditionOptions {
  /** Digits of each summand. */
  readonly digits: number;
  /** Writes the sum from its lowest digit, which makes carrying easy; false by default. */
  readonly reversed?: boolean;
}

/** `"07+95="` → `"102"`: sums of two numbers, with leading zeros. @throws RangeError unless 1 ≤ digits ≤ 9. */
export function additionTask({ digits, reversed = false }: AdditionOptions): VerifiableTask {
  if (!(Number.isInteger(digits) && digits >= 1 && digits <= 9))
    throw new RangeError(`additionTask: digits are 1 to 9, got ${digits}`);
  const pad = (n: number, length: number): string => String(n).padStart(length, "0");
  const solve = (prompt: string): string => {
    const [a, b] = prompt.slice(0, -1).split("+").map(Number) as [number, number];
    const sum = pad(a + b, digits + 1);
    return reversed ? [...sum].reverse().join("") : sum;
  };
  return {
    tokenizer: characterTokenizer(`${DIGITS}+=${END}`),
    end: END,
    promptLength: 2 * digits + 2,
    answerLength: digits + 1,
    generate(stream) {
      const [a, b] = [stream.integer(10 ** digits), stream.integer(10 ** digits)];
      const prompt = `${pad(a, digits)}+${pad(b, digits)}=`;
      return { prompt, answer: solve(prompt) };
    },
    verify: (prompt, completion) => completion === solve(prompt),
  };
}

export interface ModularSumOptions {
  /** At most 10, so that numbers are digits. */
  readonly modulus: number;
  readonly terms: number;
}

/** `"3516="` → their sum modulo `modulus`, one digit. @throws RangeError unless 2 ≤ modulus ≤ 10 and terms ≥ 1. */
export function modularSumTask({ modulus, terms }: ModularSumOptions): VerifiableTask {
  if (!(Number.isInteger(modulus) && modulus >= 2 && modulus <= 10 && Number.isInteger(terms) && terms >= 1))
    throw new RangeError(`modularSumTask: takes a modulus of 2 to 10 and at least 1 term`);
  const solve = (prompt: string): string =>
    String([...prompt.slice(0, -1)].reduce((sum, digit) => (sum + Number(digit)) % modulus, 0));
  return {
    tokenizer: characterTokenizer(`${DIGITS.slice(0, modulus)}=${END}`),
    end: END,
    promptLength: terms + 1,
    answerLength: 1,
    generate(stream) {
      const prompt = `${Array.from({ length: terms }, () => stream.integer(modulus)).join("")}=`;
      return { prompt, answer: solve(prompt) };
    },
    verify: (prompt, completion) => completion === solve(prompt),
  };
}
