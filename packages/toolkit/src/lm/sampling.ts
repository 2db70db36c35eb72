import {
  add,
  arange,
  argmax,
  cast,
  concat,
  cumSum,
  equal,
  exp,
  expandDims,
  greaterEqual,
  less,
  logicalAnd,
  logicalNot,
  logicalOr,
  logSoftmax,
  max,
  moveAxis,
  mul,
  pad,
  random,
  scan,
  slice,
  sort,
  sub,
  sum,
  type Tensor,
  TensorError,
  where,
  zeros,
} from "@prior-art/tensor";
import { pick } from "./logProbabilities.ts";
import type { TokenModel } from "./tokenModel.ts";

export interface TokenFilter {
  /** Logits are divided by it, 1 by default. */
  readonly temperature?: number;
  /** Only the `topK` most probable tokens. */
  readonly topK?: number;
  /** Only the most probable tokens that together reach this probability (Holtzman et al., 2020). */
  readonly topP?: number;
  /** Only tokens of at least this share of the most probable one's probability (Nguyen et al., 2024). */
  readonly minP?: number;
}

const RULED_OUT = Number.NEGATIVE_INFINITY;

/**
 * Logits after temperature and the filters, `[…, vocabulary]`; tokens that are filtered out get `−∞`. The most
 * probable token always stays; equally probable ones stay or go together.
 * @throws RangeError for a temperature, count or share out of range.
 */
export function filterLogits(
  logits: Tensor,
  { temperature = 1, topK, topP, minP }: TokenFilter = {},
): Tensor {
  if (!(temperature > 0)) throw new RangeError(`filterLogits: temperature is positive, got ${temperature}`);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1))
    throw new RangeError(`filterLogits: topK is a whole number of at least 1, got ${topK}`);
  for (const [name, share] of Object.entries({ topP, minP }))
    if (share !== undefined && !(share > 0 && share <= 1))
      throw new RangeError(`filterLogits: ${name} is in (0, 1], got ${share}`);
  let kept = temperature === 1 ? logits : mul(logits, 1 / temperature);
  const vocabulary = logits.shape.at(-1)!;
  const keepFrom = (floor: Tensor): void => {
    kept = where(greaterEqual(kept, floor), kept, RULED_OUT);
  };
  const lastAxis = (t: Tensor, from: number, to: number): Tensor =>
    slice(t, ...logits.shape.slice(1).map(() => null), [from, to]);
  if (topK !== undefined && topK < vocabulary) keepFrom(lastAxis(sort(kept, -1, true), topK - 1, topK));
  if (topP !== undefined && topP < 1) {
    const sorted = sort(kept, -1, true);
    const probabilities = exp(logSoftmax(sorted));
    const before = sub(cumSum(probabilities, -1), probabilities);
    // The least probable token whose predecessors don't reach topP yet.
    const needed = where(less(before, topP), sorted, Number.POSITIVE_INFINITY);
    keepFrom(mul(max(mul(needed, -1), -1, true), -1));
  }
  if (minP !== undefined) keepFrom(add(max(kept, -1, true), Math.log(minP)));
  return kept;
}

export interface SamplingOptions extends TokenFilter {
  /** Tokens of prompt and completion together. */
  readonly length: number;
  /** Number of prompt tokens of each sequence, int32 `[batch]`; all of `prompts` by default. */
  readonly promptLengths?: Tensor;
  /** The token that ends a sequence and fills the places after it; none by default. */
  readonly end?: number;
  /** Always the most probable token; false by default. */
  readonly greedy?: boolean;
}

/** Sequences with what was drawn in them. */
export interface Completions {
  /** Prompts and completions, int32 `[batch, length]`. */
  readonly tokens: Tensor;
  /** Log-probability of each drawn token under the (filtered) distribution it came from, else 0; `[batch, length]`. */
  readonly logProbabilities: Tensor;
  /** 1 at drawn tokens, up to and with the end, else 0; `[batch, length]`, float32. */
  readonly mask: Tensor;
}

/**
 * Completes prompts token by token inside one `scan`: a pure function for `jit` (and `vmap`).
 * @param prompts int32 `[batch, promptLength]`
 * @throws TensorError when the prompts don't fit. @throws RangeError for filters out of range.
 * @example
 * const sample = jit((params: TransformerParams, key: Tensor, prompts: Tensor) =>
 *   sampleCompletions(decoder(model, params), key, prompts, { length: 16, end: 0 }));
 */
export function sampleCompletions<State>(
  model: TokenModel<State>,
  key: Tensor,
  prompts: Tensor,
  options: SamplingOptions,
): Completions {
  const { length, promptLengths, end, greedy = false, ...filter } = options;
  const [batch, given] = prompts.shape as [number, number];
  if (prompts.rank !== 2 || prompts.dtype !== "int32" || given < 1 || given > length)
    throw new TensorError(
      "sampleCompletions",
      `takes int32 prompts [batch, 1 to ${length}], got ${prompts.toString()}`,
    );
  const columns = moveAxis(pad(prompts, [[0, 0], [0, length - given]]), 1, 0); // biome-ignore format: one line
  const lengths = promptLengths ?? add(zeros([batch], "int32"), given);
  const positions = arange(length - 1);

  const step = (
    { token, done, state }: { token: Tensor; done: Tensor; state: State },
    [position, prompt, drawKey]: readonly [Tensor, Tensor, Tensor],
  ) => {
    const [logits, next] = model.next(token, position, state);
    const filtered = filterLogits(logits, filter);
    const drawn = argmax(greedy ? filtered : add(filtered, random.gumbel(drawKey, filtered.shape)), -1);
    const free = logicalAnd(less(sub(lengths, 2), position), logicalNot(done));
    const chosen = where(done, end ?? 0, where(free, drawn, prompt));
    const logProbability = greedy ? zeros([batch]) : pick(logSoftmax(filtered), chosen);
    const mask = cast(free, "float32");
    const ended = end === undefined ? done : logicalOr(done, logicalAnd(free, equal(chosen, end)));
    return [
      { token: chosen, done: ended, state: next },
      { token: chosen, logProbability: where(free, logProbability, 0), mask },
    ] as const;
  };
  const first = slice(columns, 0);
  const [, drawn] = scan(
    step,
    { token: first, done: cast(zeros([batch]), "bool"), state: model.start(batch, length) },
    [positions, slice(columns, [1, length]), random.split(key, length - 1)] as const,
  );
  const withFirst = (head: Tensor, later: Tensor): Tensor =>
    moveAxis(concat([expandDims(head, 0), later]), 0, 1);
  return {
    tokens: withFirst(first, drawn.token),
    logProbabilities: withFirst(zeros([batch]), drawn.logProbability),
    mask: withFirst(zeros([batch]), drawn.mask),
  };
}

/** Tokens drawn in each sequence, `[batch]`, float32. */
export const completionLengths = ({ mask }: Completions): Tensor => sum(mask, -1);
