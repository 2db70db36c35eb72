import { jit, random, type Tensor, tensor } from "@prior-art/tensor";
import {
  cosineSchedule,
  DIGIT_CLASSES,
  DIGIT_PIXELS,
  type DigitQuality,
  ddim,
  digitDenoiser,
  digitQuality,
  type Guidance,
  pathOf,
  startingNoise,
} from "@prior-art/toolkit/diffusion";

export interface GuidedDigitsOptions<S> {
  readonly guidance: Guidance<S>;
  /** Digits, as many of each class. */
  readonly count: number;
  /** Of deterministic DDIM on the cosine schedule. */
  readonly steps: number;
  readonly seed: number;
}

/** Draws digits from the pretrained denoiser under guidance and measures them. */
export async function guidedDigits<S>(options: GuidedDigitsOptions<S>): Promise<DigitQuality> {
  const { guidance, count, steps, seed } = options;
  const denoiser = await digitDenoiser();
  const path = pathOf(cosineSchedule(), steps);
  const labels = tensor(Int32Array.from({ length: count }, (_, i) => i % DIGIT_CLASSES));
  const draw = jit((start: Tensor, key: Tensor) => ddim({ denoiser, path, start, labels, guidance, key }));
  const [startKey, key] = random.keys(random.key(seed)) as [Tensor, Tensor];
  const images = await draw(startingNoise(startKey, [count, DIGIT_PIXELS], path), key);
  await draw.release();
  return digitQuality(images, labels);
}
