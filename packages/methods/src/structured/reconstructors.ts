import type { Image, InverseProblem } from "./family.ts";
import { l2lq } from "./l2lq.ts";
import { differenceOperator } from "./sparseOperator.ts";

/** Tikhonov's method with differences of neighbouring pixels, its weight by the discrepancy principle. */
export function tikhonov({ forward, data, noiseNorm, size }: InverseProblem): Image {
  const { x } = l2lq({ forward, data, noiseNorm, penalty: differenceOperator(size), q: 2 });
  return { size, values: x };
}

/** Anisotropic total variation, its weight by the discrepancy principle. */
export function totalVariation({ forward, data, noiseNorm, size }: InverseProblem): Image {
  const { x } = l2lq({ forward, data, noiseNorm, penalty: differenceOperator(size), q: 1 });
  return { size, values: x };
}

export interface BilateralOptions {
  /** Standard deviation of the weights in grey levels. */
  readonly range: number;
  /** The same in pixels. Default 2. */
  readonly spread?: number;
  /** Half the window's side. Default 4. */
  readonly radius?: number;
}

/** The bilateral filter: each pixel becomes the mean of its neighbours, weighted by closeness in place and in grey level. */
export function bilateralFilter(
  { size, values }: Image,
  { range, spread = 2, radius = 4 }: BilateralOptions,
): Image {
  const result = new Float64Array(values.length);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      const center = values[i * size + j]!;
      let [sum, total] = [0, 0];
      for (let k = Math.max(0, i - radius); k <= Math.min(size - 1, i + radius); k++)
        for (let l = Math.max(0, j - radius); l <= Math.min(size - 1, j + radius); l++) {
          const value = values[k * size + l]!;
          const weight = Math.exp(
            -((value - center) ** 2) / (2 * range * range) -
              ((k - i) ** 2 + (l - j) ** 2) / (2 * spread * spread),
          );
          sum += weight * value;
          total += weight;
        }
      result[i * size + j] = sum / total;
    }
  return { size, values: result };
}
