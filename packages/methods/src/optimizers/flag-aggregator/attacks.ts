import {
  arange,
  cast,
  div,
  expandDims,
  less,
  maximum,
  mul,
  random,
  sqrt,
  sub,
  sum,
  type Tensor,
  where,
} from "@prior-art/tensor";
import { type Faulty, requireWorkers } from "./baselines.ts";

/**
 * Gradients `[workers, parameters]` as the server gets them when the first `faulty` workers attack; the others' stay as they are.
 * The key is for attacks that draw.
 */
export type Attack = (gradients: Tensor, faulty: Faulty, key: Tensor) => Tensor;

/** 1 for the workers that attack, `[workers, 1]`. */
function attackers(gradients: Tensor, faulty: Faulty): Tensor {
  const [p] = requireWorkers("attack", gradients);
  if (typeof faulty === "number" && !(Number.isInteger(faulty) && faulty >= 0 && faulty <= p))
    throw new RangeError(`attack: of ${p} workers, ${faulty} can't attack`);
  const rank = cast(arange(p), gradients.dtype);
  const count = typeof faulty === "number" ? faulty : cast(faulty, gradients.dtype);
  return expandDims(cast(less(rank, count), gradients.dtype), 1);
}

const replaced = (gradients: Tensor, faulty: Faulty, by: Tensor): Tensor => {
  const bad = attackers(gradients, faulty);
  return where(less(0.5, bad), by, gradients);
};

/** Mean and deviation over the honest workers, coordinate by coordinate. */
function honestMoments(gradients: Tensor, faulty: Faulty): { average: Tensor; deviation: Tensor } {
  const honest = sub(1, attackers(gradients, faulty));
  const count = maximum(sum(honest), 1);
  const average = div(sum(mul(honest, gradients), 0), count);
  const gaps = sub(gradients, average);
  return { average, deviation: sqrt(div(sum(mul(honest, mul(gaps, gaps)), 0), count)) };
}

/** Uniform numbers in [-1, 1], times `size` (10) times the length of the worker's gradient. */
export const uniformNoise =
  (size = 10): Attack =>
  (gradients, faulty, key) => {
    const lengths = sqrt(sum(mul(gradients, gradients), 1, true));
    const noise = random.uniform(key, gradients.shape, {
      low: -1,
      high: 1,
      dtype: gradients.dtype as "float32",
    });
    return replaced(gradients, faulty, mul(mul(size, lengths), noise));
  };

/** `-size · g`, 10 times the gradient by default. */
export const signFlip =
  (size = 10): Attack =>
  (gradients, faulty) =>
    replaced(gradients, faulty, mul(-size, gradients));

/** Each coordinate is lost with this probability, 0.1 by default. */
export const dropCoordinates =
  (share = 0.1): Attack =>
  (gradients, faulty, key) =>
    replaced(
      gradients,
      faulty,
      mul(gradients, cast(less(random.uniform(key, gradients.shape), 1 - share), gradients.dtype)),
    );

/** `-epsilon` times the honest workers' mean (Xie et al., 2019), 1 by default. */
export const fallOfEmpires =
  (epsilon = 1): Attack =>
  (gradients, faulty) =>
    replaced(gradients, faulty, mul(-epsilon, honestMoments(gradients, faulty).average));

/** "A little is enough" (Baruch et al., 2019): the honest workers' mean less `z` (1) deviations. */
export const littleIsEnough =
  (z = 1): Attack =>
  (gradients, faulty) => {
    const { average, deviation } = honestMoments(gradients, faulty);
    return replaced(gradients, faulty, sub(average, mul(z, deviation)));
  };

/** The attacks by name, each with its usual strength. */
export const attacks = { uniformNoise, signFlip, dropCoordinates, fallOfEmpires, littleIsEnough } as const;
