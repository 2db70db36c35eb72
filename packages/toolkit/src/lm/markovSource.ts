import { type RandomStream, randomStream } from "../stats/index.ts";
import { dirichlet } from "./dirichlet.ts";

export interface MarkovSourceOptions {
  readonly vocabulary: number;
  /** Tokens that the next one depends on, 1 by default. */
  readonly order?: number;
  /** Of the Dirichlet distribution that each context's row is drawn from, 0.5 by default; small ones are predictable. */
  readonly concentration?: number;
  readonly seed: number;
}

/** A stationary Markov chain over tokens: an endless text whose best possible loss is known. */
export interface MarkovSource {
  readonly vocabulary: number;
  readonly order: number;
  /** `[vocabularyᵒʳᵈᵉʳ, vocabulary]`; a context's row number has its latest token as last digit. */
  readonly transitions: Float64Array;
  /** Long-run share of each context. */
  readonly stationary: Float64Array;
  /** Nats a token: the loss of a model that knows the source and has seen a whole context. */
  readonly entropyRate: number;
  /** `count` texts of `length` tokens, row after row. */
  sample(count: number, length: number, stream: RandomStream): Int32Array;
}

/**
 * A random Markov source; all rows have full support, so that it is ergodic.
 * @throws RangeError for options out of range.
 */
export function markovSource(options: MarkovSourceOptions): MarkovSource {
  const { vocabulary, order = 1, concentration = 0.5, seed } = options;
  if (!(Number.isInteger(order) && order >= 1 && Number.isInteger(vocabulary) && vocabulary >= 2))
    throw new RangeError(`markovSource: takes an order of at least 1 and at least 2 tokens`);
  const stream = randomStream(seed, "Markov source");
  const transitions = new Float64Array(vocabulary ** order * vocabulary);
  for (let at = 0; at < transitions.length; at += vocabulary)
    transitions.set(
      // A row without zeros keeps the chain ergodic and every log-probability finite.
      dirichlet(stream, vocabulary, concentration).map((p) => 0.999 * p + 0.001 / vocabulary),
      at,
    );
  return markovSourceFrom(transitions, vocabulary);
}

/**
 * The Markov source with these transitions, `[vocabularyᵒʳᵈᵉʳ, vocabulary]`.
 * @throws RangeError unless rows are distributions of full support, and as many as some order asks for.
 */
export function markovSourceFrom(transitions: Float64Array, vocabulary: number): MarkovSource {
  const contexts = transitions.length / vocabulary;
  const order = Math.round(Math.log(contexts) / Math.log(vocabulary));
  if (contexts !== vocabulary ** order || order < 1)
    throw new RangeError(`markovSourceFrom: ${transitions.length} numbers are not rows of ${vocabulary}`);
  for (let c = 0; c < contexts; c++) {
    const row = transitions.subarray(c * vocabulary, (c + 1) * vocabulary);
    if (row.some((p) => !(p > 0)) || Math.abs(row.reduce((a, b) => a + b, 0) - 1) > 1e-9)
      throw new RangeError(`markovSourceFrom: row ${c} is not a distribution of full support`);
  }
  const successor = (context: number, token: number): number => (context * vocabulary + token) % contexts;
  const stationary = stationaryOf(transitions, vocabulary, successor);
  let entropyRate = 0;
  for (let i = 0; i < transitions.length; i++)
    entropyRate -= stationary[Math.floor(i / vocabulary)]! * transitions[i]! * Math.log(transitions[i]!);

  return {
    vocabulary,
    order,
    transitions,
    stationary,
    entropyRate,
    sample(count, length, stream) {
      const tokens = new Int32Array(count * length);
      for (let row = 0; row < count; row++) {
        let context = drawFrom(stationary, stream);
        for (let t = 0; t < length; t++) {
          // The first tokens are the digits of a context from the long run.
          const digit = Math.floor(context / vocabulary ** (order - 1 - t)) % vocabulary;
          const at = context * vocabulary;
          const token = t < order ? digit : drawFrom(transitions.subarray(at, at + vocabulary), stream);
          tokens[row * length + t] = token;
          if (t >= order) context = successor(context, token);
        }
      }
      return tokens;
    },
  };
}

/** An index with these probabilities. */
export function drawFrom(probabilities: Float64Array, stream: RandomStream): number {
  let left = stream.uniform();
  for (let i = 0; i < probabilities.length - 1; i++) {
    left -= probabilities[i]!;
    if (left < 0) return i;
  }
  return probabilities.length - 1;
}

function stationaryOf(
  transitions: Float64Array,
  vocabulary: number,
  successor: (context: number, token: number) => number,
): Float64Array {
  const contexts = transitions.length / vocabulary;
  let share: Float64Array = new Float64Array(contexts).fill(1 / contexts);
  for (let sweep = 0; sweep < 100_000; sweep++) {
    const next = new Float64Array(contexts);
    for (let c = 0; c < contexts; c++)
      for (let v = 0; v < vocabulary; v++)
        next[successor(c, v)]! += share[c]! * transitions[c * vocabulary + v]!;
    const change = next.reduce((largest, p, i) => Math.max(largest, Math.abs(p - share[i]!)), 0);
    share = next;
    if (change < 1e-14) return share;
  }
  throw new Error("markovSourceFrom: the chain mixes too slowly to find its long-run shares");
}
