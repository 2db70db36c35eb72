import { add, isFinite as finite, logicalAnd, mul, sub, type Tensor, where } from "@prior-art/tensor";
import type { TokenModel, TokenPolicy } from "@prior-art/toolkit/lm";

/** What both models must allow: a token that either rules out stays ruled out, whatever λ. */
const RULED_OUT = Number.NEGATIVE_INFINITY;

/**
 * DeRa's logits of one token, `λ h_aligned + (1 − λ) h_reference`: 0 is the reference, 1 the aligned model, between them
 * a weaker alignment, above 1 a stronger one. A logit of −∞ in either stays −∞.
 * @param reference of the reference (SFT) model, `[vocabulary]` @param aligned of the aligned model at the same prefix
 * @throws RangeError when the two differ in length or λ is not finite.
 */
export function deraLogits(
  reference: ArrayLike<number>,
  aligned: ArrayLike<number>,
  lambda: number,
): Float64Array {
  return combinedLogits(reference, [{ aligned, lambda }]);
}

/**
 * Several aligned models at once, for several rewards: `h + Σ_k λ_k (h_k − h)`.
 * @throws RangeError when lengths differ or a λ is not finite.
 */
export function combinedLogits(
  reference: ArrayLike<number>,
  parts: readonly { readonly aligned: ArrayLike<number>; readonly lambda: number }[],
): Float64Array {
  for (const { aligned, lambda } of parts) {
    if (aligned.length !== reference.length)
      throw new RangeError(`deraLogits: ${reference.length} and ${aligned.length} logits don't fit`);
    requireLambda(lambda);
  }
  return Float64Array.from(reference, (h, v) =>
    parts.some(({ aligned }) => aligned[v] === RULED_OUT) || h === RULED_OUT
      ? RULED_OUT
      : parts.reduce((sum, { aligned, lambda }) => sum + lambda * (aligned[v]! - h), h),
  );
}

function requireLambda(lambda: number): void {
  if (!Number.isFinite(lambda)) throw new RangeError(`deraLogits: λ is a finite number, got ${lambda}`);
}

/**
 * The realigned model as a model that can be sampled from: both models read the same prefix, each with a state of its
 * own, and their logits are mixed at every token. Temperature, top-k and top-p come after the mixing.
 * @param lambda a number, or a scalar tensor to sweep it under `vmap`
 * @example
 * const mild = realign(decoder(model, sft), decoder(model, aligned), 0.5);
 * sampleCompletions(mild, key, prompts, { length: 16, topP: 0.9 });
 */
export function realign<A, B>(
  reference: TokenModel<A>,
  aligned: TokenModel<B>,
  lambda: number | Tensor,
): TokenModel<readonly [A, B]> {
  if (typeof lambda === "number") requireLambda(lambda);
  return {
    start: (batch, length) => [reference.start(batch, length), aligned.start(batch, length)],
    next(tokens, position, [a, b]) {
      const [h, nextA] = reference.next(tokens, position, a);
      const [hAligned, nextB] = aligned.next(tokens, position, b);
      const allowed = logicalAnd(finite(h), finite(hAligned));
      // The difference of infinities would be no number, also where it isn't chosen.
      const [from, to] = [where(allowed, h, 0), where(allowed, hAligned, 0)];
      return [where(allowed, add(from, mul(lambda, sub(to, from))), RULED_OUT), [nextA, nextB]];
    },
  };
}

/** DeRa on tables: `[states, vocabulary]` token probabilities of two policies over the same states. */
export function realignPolicy(
  reference: TokenPolicy,
  aligned: TokenPolicy,
  vocabulary: number,
  lambda: number,
): TokenPolicy {
  const realigned = new Float64Array(reference.length);
  for (let at = 0; at < reference.length; at += vocabulary) {
    const row = (policy: TokenPolicy) => policy.subarray(at, at + vocabulary).map(Math.log);
    realigned.set(softmax(deraLogits(row(reference), row(aligned), lambda)), at);
  }
  return realigned;
}

/**
 * Realignment of whole sequences, which is exact (the paper's first proposition): from probabilities of the same sequences
 * under the reference and under the optimum of `E[r] − β KL`, those under the optimum for `β/λ`,
 * `∝ reference^(1 − λ) aligned^λ`.
 * @throws RangeError when the two differ in length or λ is not finite.
 */
export const realignSequenceExact = (
  reference: ArrayLike<number>,
  aligned: ArrayLike<number>,
  lambda: number,
): Float64Array =>
  softmax(deraLogits(Array.from(reference, Math.log), Array.from(aligned, Math.log), lambda));

function softmax(logits: Float64Array): Float64Array {
  const top = logits.reduce((a, b) => Math.max(a, b), RULED_OUT);
  const weights = logits.map((h) => Math.exp(h - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
}
