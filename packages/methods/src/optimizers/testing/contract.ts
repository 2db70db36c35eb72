/** What every optimizer of this family keeps to, whatever it does with a gradient. */
import { item, mul, sub, type Tensor, transpose, zeros } from "@prior-art/tensor";
import {
  addDecayedWeights,
  clipByGlobalNorm,
  cosineDecay,
  type GradientTransformation,
  masked,
  requireFinite,
  scaleByLearningRate,
  skipNonFinite,
} from "@prior-art/toolkit/optim";
import { expect } from "vitest";
import { gap, gaussian, norm } from "./doubles.ts";
import { inOrder, path } from "./paths.ts";

/** A matrix and a vector, as of a layer. */
export type Layer = { readonly w: Tensor; readonly b: Tensor };

const layer = (seed: number): Layer => ({ w: gaussian(seed, [4, 6]), b: gaussian(seed + 50, [6]) });

/** Rates of 0, below it and NaN are refused with a RangeError. */
export function expectRatesRefused(
  make: (learningRate: number) => unknown,
  message = /learning rate must be positive/,
): void {
  for (const rate of [0, -1, Number.NaN]) {
    expect(() => make(rate)).toThrow(RangeError);
    expect(() => make(rate)).toThrow(message);
  }
}

/** What an optimizer says to trees that don't fit. */
interface Refusals {
  /** Of a state made for fewer tensors, or for tensors of other shapes. */
  readonly state: RegExp;
  /** Of gradients of other shapes than the parameters, or for more tensors. */
  readonly shapes: RegExp;
}

/** A tree that has changed since `init` is refused, and so are gradients that don't fit the parameters. */
export function expectChangesRefused<S>(
  optimizer: GradientTransformation<Record<string, Tensor>, S>,
  { state, shapes }: Refusals,
): void {
  const params = { w: zeros([4, 6]), b: zeros([6]) };
  const grown = { ...params, v: zeros([4, 6]) };
  const wider = { ...params, w: zeros([5, 6]) };
  const turned = { ...params, w: zeros([6, 4]) };
  const initial = optimizer.init(params);
  expect(() => optimizer.update(grown, initial, grown)).toThrow(state);
  expect(() => optimizer.update(wider, initial, wider)).toThrow(state);
  expect(() => optimizer.update(grown, initial, params)).toThrow(shapes);
  expect(() => optimizer.update(turned, initial, params)).toThrow(shapes);
}

/**
 * Under `skipNonFinite`, gradients with NaN or ∞ in one tensor move nothing and leave the state as it was, so that the
 * path goes on as if they had not been there; `requireFinite` names the tensor.
 */
export async function expectNonFiniteSkipped<S>(optimizer: GradientTransformation<Layer, S>): Promise<void> {
  const [start, first, second] = [layer(1), layer(2), layer(3)];
  const broken = (by: number): Layer => ({ ...layer(4), w: mul(by, layer(4).w) });
  const [nan, infinite] = [broken(Number.NaN), broken(Number.POSITIVE_INFINITY)];
  const { params, states } = await path(skipNonFinite(optimizer), start, [nan, first, infinite, second]);
  expect(await gap(params[1], start)).toBe(0);
  expect(await gap(params[3], params[2])).toBe(0);
  expect(await gap(states[0]!.inner, optimizer.init(start))).toBe(0);
  expect(await gap(states[2]!.inner, states[1]!.inner)).toBe(0);
  expect(await item(states[3]!.skipped)).toBe(2);
  await expect(requireFinite("after", [params[4], states[3]!.inner])).resolves.toBeUndefined();
  const plain = await path(optimizer, start, [first, second]);
  expect(await gap(params[2], plain.params[1])).toBe(0);
  expect(await gap(params[4], plain.params[2])).toBeLessThan(1e-12);
  for (const bad of [nan, infinite])
    await expect(requireFinite("step", bad)).rejects.toThrow(/step: w holds a NaN/);
}

/** A tall matrix is treated as its transpose. */
export async function expectTransposable<S>(optimizer: GradientTransformation<Tensor, S>): Promise<void> {
  const start = gaussian(9, [4, 6]);
  const gradients = [10, 11, 12, 13, 14].map((seed) => gaussian(seed, [4, 6]));
  const wide = await path(optimizer, start, gradients);
  const tall = await path(
    optimizer,
    transpose(start),
    gradients.map((g) => transpose(g)),
  );
  expect(await gap(transpose(wide.params[5]!), tall.params[5])).toBeLessThan(1e-9);
}

/**
 * Three steps on one gradient of a chain in which `ofMatrices`, and decay by a tenth, stand between clipping to norm 1
 * and a cosine schedule from 0.1: the matrix moves, and the vector, passed by both, takes the clipped gradient at the
 * schedule's rates.
 * @returns that gradient, and the parameters before and after each step.
 */
export async function expectToChain<S>(
  ofMatrices: GradientTransformation<Tensor[], S>,
): Promise<{ readonly gradient: Layer; readonly params: readonly Layer[] }> {
  const start = { w: gaussian(9, [4, 6]), b: gaussian(1, [6]) };
  const gradient = { w: gaussian(10, [4, 6]), b: gaussian(2, [6]) };
  const isMatrix = (t: Tensor): boolean => t.rank > 1;
  const optimizer = inOrder<Layer>(
    clipByGlobalNorm(1),
    masked(ofMatrices, isMatrix),
    addDecayedWeights(0.1, isMatrix),
    scaleByLearningRate(cosineDecay(0.1, 10)),
  );
  const { params } = await path(optimizer, start, [gradient, gradient, gradient]);
  expect(await gap(params[3]!.w, start.w)).toBeGreaterThan(0.01);
  const total = [0, 1, 2].reduce((sum, t) => sum + 0.05 * (1 + Math.cos((Math.PI * t) / 10)), 0);
  const clipped = mul(1 / (await norm(gradient)), gradient.b);
  expect(await gap(sub(start.b, params[3]!.b), mul(total, clipped))).toBeLessThan(1e-9);
  return { gradient, params };
}
