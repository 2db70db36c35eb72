import { dot, norm } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import type { Image, InverseProblem } from "./family.ts";
import { type SparseMatrix, sparseOperator } from "./sparseOperator.ts";

export interface Geometry {
  /** Side of the image in pixels. */
  readonly size: number;
  /** Directions, evenly over half a turn. */
  readonly angles: number;
  /** Parallel rays of each direction, a pixel apart. */
  readonly rays: number;
}

/**
 * The parallel-beam Radon transform, `[angles · rays, size²]`: integrals along rays of the image interpolated bilinearly, sampled
 * every half pixel.
 */
export function radonTransform({ size, angles, rays }: Geometry): SparseMatrix {
  const rows: (readonly [number, number])[][] = [];
  const center = (size - 1) / 2;
  const reach = Math.ceil(size * Math.SQRT1_2) + 1;
  for (let a = 0; a < angles; a++) {
    const [cosine, sine] = [Math.cos((Math.PI * a) / angles), Math.sin((Math.PI * a) / angles)];
    for (let r = 0; r < rays; r++) {
      const offset = r - (rays - 1) / 2;
      const entries = new Map<number, number>();
      for (let t = -reach; t <= reach; t += 0.5) {
        const x = center + offset * cosine - t * sine;
        const y = center + offset * sine + t * cosine;
        const [j, i] = [Math.floor(x), Math.floor(y)];
        const [u, v] = [x - j, y - i];
        for (const [di, dj, weight] of [
          [0, 0, (1 - v) * (1 - u)],
          [0, 1, (1 - v) * u],
          [1, 0, v * (1 - u)],
          [1, 1, v * u],
        ] as const) {
          const [row, column] = [i + di, j + dj];
          if (row < 0 || column < 0 || row >= size || column >= size || weight === 0) continue;
          const at = row * size + column;
          entries.set(at, (entries.get(at) ?? 0) + 0.5 * weight);
        }
      }
      rows.push([...entries]);
    }
  }
  return sparseOperator(size * size, rows);
}

/**
 * Filtered back-projection with the Ram–Lak filter; its scale is the one that fits the data best, so that no constant of the
 * geometry can be wrong.
 */
export function filteredBackProjection({ forward, data, size }: InverseProblem, rays: number): Image {
  const filtered = new Float64Array(data.length);
  for (let start = 0; start < data.length; start += rays)
    for (let r = 0; r < rays; r++) {
      let sum = data[start + r]! / 4;
      for (let s = 0; s < rays; s++)
        if ((s - r) % 2 !== 0) sum -= data[start + s]! / (Math.PI * (s - r)) ** 2;
      filtered[start + r] = sum;
    }
  const image = forward.applyTransposed(filtered);
  const projected = forward.apply(image);
  const scale = dot(projected, data) / dot(projected, projected);
  return { size, values: image.map((value) => scale * value) };
}

/** A phantom of 3–6 ellipses, rectangles and lines of constant grey levels between 0 and 1, later ones on top. */
export function phantom(size: number, seed: number): Image {
  const stream = randomStream(seed, "phantom");
  const values = new Float64Array(size * size);
  const shapes = 3 + stream.integer(4);
  for (let shape = 0; shape < shapes; shape++) {
    const kind = stream.integer(3);
    const level = 0.2 + 0.8 * stream.uniform();
    const [x, y] = [size * (0.25 + 0.5 * stream.uniform()), size * (0.25 + 0.5 * stream.uniform())];
    const [a, b] = [size * (0.06 + 0.18 * stream.uniform()), size * (0.06 + 0.18 * stream.uniform())];
    const turn = Math.PI * stream.uniform();
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) {
        const u = (j - x) * Math.cos(turn) + (i - y) * Math.sin(turn);
        const v = (i - y) * Math.cos(turn) - (j - x) * Math.sin(turn);
        const inside =
          kind === 0
            ? (u / a) ** 2 + (v / b) ** 2 <= 1
            : kind === 1
              ? Math.abs(u) <= a && Math.abs(v) <= b
              : Math.abs(u) <= 1.5 * a && Math.abs(v) <= 1;
        if (inside) values[i * size + j] = level;
      }
  }
  return { size, values };
}

/** Measures an image with noise of a norm that is `noise` times that of the clean data. */
export function measure(image: Image, forward: SparseMatrix, noise: number, seed: number): InverseProblem {
  const stream = randomStream(seed, "measurement noise");
  const clean = forward.apply(image.values);
  const errors = clean.map(() => stream.normal());
  const scale = (noise * norm(clean)) / norm(errors);
  return {
    forward,
    data: clean.map((value, i) => value + scale * errors[i]!),
    noiseNorm: noise * norm(clean),
    size: image.size,
  };
}

/** ‖x − x*‖/‖x*‖. */
export function relativeError(image: Image, truth: Image): number {
  return norm(image.values.map((value, i) => value - truth.values[i]!)) / norm(truth.values);
}

/** Structural similarity, the mean over all windows of 7 × 7 pixels (uniform weights, grey levels of range 1). */
export function structuralSimilarity(a: Image, b: Image): number {
  const { size } = a;
  const [c1, c2] = [0.01 ** 2, 0.03 ** 2];
  let total = 0;
  let count = 0;
  for (let i = 0; i + 7 <= size; i++)
    for (let j = 0; j + 7 <= size; j++) {
      let [sa, sb, aa, bb, ab] = [0, 0, 0, 0, 0];
      for (let k = 0; k < 49; k++) {
        const at = (i + Math.floor(k / 7)) * size + j + (k % 7);
        const [x, y] = [a.values[at]!, b.values[at]!];
        sa += x;
        sb += y;
        aa += x * x;
        bb += y * y;
        ab += x * y;
      }
      const [ma, mb] = [sa / 49, sb / 49];
      const [va, vb, cov] = [aa / 49 - ma * ma, bb / 49 - mb * mb, ab / 49 - ma * mb];
      total += ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
      count++;
    }
  return total / count;
}
