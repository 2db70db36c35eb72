import {
  add,
  div,
  jit,
  mul,
  random,
  std,
  sub,
  type Tensor,
  type TensorLike,
  tensor,
} from "@prior-art/tensor";
import {
  cosineSchedule,
  DIGIT_CLASSES,
  DIGIT_PIXELS,
  ddim,
  digitDenoiser,
  type Guidance,
  heun,
  type Path,
  pathOf,
  type SamplingProblem,
  startingNoise,
  stateless,
} from "@prior-art/toolkit/diffusion";

/** Ways to go from noise to digits. */
export const SAMPLERS = {
  ddim: (problem: SamplingProblem<never>) => ddim(problem),
  ancestral: (problem: SamplingProblem<never>) => ddim(problem, { eta: 1 }),
  heun: (problem: SamplingProblem<never>) => heun(problem),
} as const;
export type SamplerName = keyof typeof SAMPLERS;

/** Heun's method needs some signal to start from, and half as many steps for as many evaluations. */
const pathFor = (sampler: SamplerName, steps: number): Path =>
  sampler === "heun" ? pathOf(cosineSchedule(), steps / 2, 0.99) : pathOf(cosineSchedule(), steps);

export interface Drawing {
  /** `[count, 64]` */
  readonly images: Tensor;
  readonly labels: Tensor;
  /** Evaluations of the network for each example and step: how often guidance called it while it was traced. */
  readonly evaluations: number;
}

/** Draws `count` digits, as many of each class, with guidance at the given scale. */
export async function drawDigits<S>(
  makeGuidance: (scale: Tensor) => Guidance<S>,
  options: {
    readonly scale: Tensor;
    readonly sampler: SamplerName;
    readonly steps: number;
    readonly count: number;
    readonly seed: number;
  },
): Promise<Drawing> {
  const { scale, sampler, steps, count, seed } = options;
  const denoiser = await digitDenoiser();
  const path = pathFor(sampler, steps);
  const labels = tensor(Int32Array.from({ length: count }, (_, i) => i % DIGIT_CLASSES));
  let evaluations = 0;
  const counted: typeof denoiser = (...inputs) => {
    evaluations++;
    return denoiser(...inputs);
  };
  const draw = jit((w: Tensor, start: Tensor, key: Tensor) =>
    SAMPLERS[sampler]({
      denoiser: counted,
      path,
      start,
      labels,
      guidance: makeGuidance(w) as Guidance<never>,
      key,
    }),
  );
  const [startKey, key] = random.keys(random.key(seed)) as [Tensor, Tensor];
  const images = await draw(scale, startingNoise(startKey, [count, DIGIT_PIXELS], path), key);
  await draw.release();
  return { images, labels, evaluations };
}

/**
 * Classifier-free guidance whose result is rescaled to the conditional prediction's standard deviation by a share φ (Lin
 * et al., 2024, section 3.4): an earlier remedy for overexposure.
 */
export const rescaledGuidance = (weight: TensorLike, share: number): Guidance<null> =>
  stateless((step) => {
    const [conditional, without] = [step.conditional(), step.unconditional()];
    const guided = add(without, mul(weight, sub(conditional, without)));
    const spread = (t: Tensor): Tensor => std(t, -1, { keepDims: true });
    const rescaled = mul(guided, div(spread(conditional), spread(guided)));
    return add(mul(share, rescaled), mul(1 - share, guided));
  });
