import {
  add,
  div,
  greaterEqual,
  lessEqual,
  logicalAnd,
  mul,
  sub,
  type Tensor,
  type TensorLike,
  where,
} from "@prior-art/tensor";
import type { Level } from "./levels.ts";

/**
 * Predicts clean data from noisy data, `[batch, dimensions] → [batch, dimensions]`; for the class of each example
 * (int32 `[batch]`), or for none.
 */
export type Denoiser = (x: Tensor, level: Level, labels: Tensor | null) => Tensor;

/** What guidance sees of a sampling step. */
export interface GuidedStep {
  /** Noisy data, `[batch, dimensions]`. */
  readonly x: Tensor;
  readonly level: Level;
  /** The step's number, int32 from 0, and the number of steps. */
  readonly index: Tensor;
  readonly count: number;
  /** A random key of the step's own. */
  readonly key: Tensor;
  /** Clean data predicted for the wanted classes, from `x` or from other data at the same level: one evaluation. */
  readonly conditional: (x?: Tensor) => Tensor;
  /** The same for no class at all. */
  readonly unconditional: (x?: Tensor) => Tensor;
}

/**
 * Combines a model's outputs at a sampling step into the clean data that the sampler goes on with; what it remembers
 * from step to step is a tree of tensors. Outputs are in terms of clean data: `noiseIn` and `outputFrom` turn them into
 * noise, velocity or score, and `cleanFrom` and `cleanFromScore` back.
 */
export interface Guidance<S = unknown> {
  /** The memory before the first step. */
  init(x: Tensor): S;
  combine(step: GuidedStep, state: S): readonly [clean: Tensor, state: S];
}

/** Guidance without a memory. */
export const stateless = (combine: (step: GuidedStep) => Tensor): Guidance<null> => ({
  init: () => null,
  combine: (step, state) => [combine(step), state],
});

/** The conditional model as it is. */
export const unguided = (): Guidance<null> => stateless((step) => step.conditional());

/** The model without classes. */
export const unconditional = (): Guidance<null> => stateless((step) => step.unconditional());

/**
 * Classifier-free guidance (Ho & Salimans, 2022): `unconditional + weight · (conditional − unconditional)`; the same for
 * predictions of any kind.
 * @param weight 1 is the conditional model, 0 the unconditional; broadcasts against `[batch, dimensions]`.
 */
export const classifierFreeGuidance = (weight: TensorLike): Guidance<null> =>
  stateless((step) => {
    const [conditional, without] = [step.conditional(), step.unconditional()];
    return add(without, mul(weight, sub(conditional, without)));
  });

/**
 * Classifier-free guidance at some levels of noise only (Kynkäänniemi et al., 2024); elsewhere the conditional model.
 * @param interval smallest and largest σ/α at which to guide.
 */
export const intervalGuidance = (
  weight: TensorLike,
  interval: readonly [low: number, high: number],
): Guidance<null> =>
  stateless((step) => {
    const [conditional, without] = [step.conditional(), step.unconditional()];
    const ratio = div(step.level.noise, step.level.signal);
    const inside = logicalAnd(greaterEqual(ratio, interval[0]), lessEqual(ratio, interval[1]));
    const gap = sub(conditional, without);
    return add(without, mul(where(inside, weight, 1), gap));
  });
