export interface WeightedPoints {
  readonly points: ArrayLike<number>;
  /** Positive; equal by default. Scaled to add up to 1. */
  readonly masses?: ArrayLike<number>;
}

/**
 * The p-Wasserstein distance of two measures on the line: `(∫ |F⁻¹ − G⁻¹|^p)^(1/p)` by matching sorted mass.
 *
 * @param order p ≥ 1. Default 1.
 * @throws RangeError when a measure has no points or p < 1.
 */
export function wasserstein1d(x: WeightedPoints, y: WeightedPoints, order = 1): number {
  if (!(order >= 1)) throw new RangeError(`wasserstein1d: order must be at least 1, got ${order}`);
  const [p, q] = [sorted(x), sorted(y)];
  let [i, j] = [0, 0];
  let [left, right] = [p[0]!.mass, q[0]!.mass];
  let sum = 0;
  while (i < p.length && j < q.length) {
    const amount = Math.min(left, right);
    sum += amount * Math.abs(p[i]!.point - q[j]!.point) ** order;
    left -= amount;
    right -= amount;
    if (left <= 1e-15) left = p[++i]?.mass ?? 0;
    if (right <= 1e-15) right = q[++j]?.mass ?? 0;
  }
  return sum ** (1 / order);
}

function sorted({ points, masses }: WeightedPoints): { point: number; mass: number }[] {
  if (points.length === 0) throw new RangeError("wasserstein1d: a measure needs at least one point");
  const list = Array.from(points, (point, i) => ({ point, mass: masses?.[i] ?? 1 }));
  const total = list.reduce((sum, { mass }) => sum + mass, 0);
  return list.map(({ point, mass }) => ({ point, mass: mass / total })).sort((a, b) => a.point - b.point);
}
