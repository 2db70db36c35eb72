import { add, div, mul, square, sub, type Tensor, TensorError } from "@prior-art/tensor";
import { type Level, noiseIn } from "./levels.ts";

/**
 * What a network predicts of `x = α clean + σ ε`: the noise ε (Ho et al., 2020), the clean data, the velocity
 * `α ε − σ clean` (Salimans & Ho, 2022), or the flow `ε − clean` of straight paths (Lipman et al., 2023).
 */
export type Prediction = "noise" | "clean" | "velocity" | "flow";

/** The right answer for a network that predicts `kind`. */
export function predictionTarget(kind: Prediction, clean: Tensor, epsilon: Tensor, level: Level): Tensor {
  switch (kind) {
    case "noise":
      return epsilon;
    case "clean":
      return clean;
    case "velocity":
      return sub(mul(level.signal, epsilon), mul(level.noise, clean));
    case "flow":
      return sub(epsilon, clean);
    default:
      throw new TensorError("predictionTarget", `"${String(kind)}" is none of noise, clean, velocity, flow`);
  }
}

/** The clean data that an output of the given kind stands for. */
export function cleanFrom(kind: Prediction, output: Tensor, x: Tensor, level: Level): Tensor {
  const { signal, noise } = level;
  switch (kind) {
    case "noise":
      return div(sub(x, mul(noise, output)), signal);
    case "clean":
      return output;
    case "velocity":
      return div(sub(mul(signal, x), mul(noise, output)), add(square(signal), square(noise)));
    case "flow":
      return div(sub(x, mul(noise, output)), add(signal, noise));
    default:
      throw new TensorError("cleanFrom", `"${String(kind)}" is none of noise, clean, velocity, flow`);
  }
}

/** The output of the given kind that stands for the clean data: the inverse of `cleanFrom`. */
export const outputFrom = (kind: Prediction, clean: Tensor, x: Tensor, level: Level): Tensor =>
  predictionTarget(kind, clean, noiseIn(x, clean, level), level);

/** ∇ log p(x) at a level, from the clean data expected there (Tweedie's formula). */
export const scoreFrom = (clean: Tensor, x: Tensor, level: Level): Tensor =>
  div(sub(mul(level.signal, clean), x), square(level.noise));

/** The clean data expected at a level, from the score there. */
export const cleanFromScore = (score: Tensor, x: Tensor, level: Level): Tensor =>
  div(add(x, mul(square(level.noise), score)), level.signal);
