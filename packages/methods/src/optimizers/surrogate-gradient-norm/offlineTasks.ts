import { type RandomStream, randomStream } from "@prior-art/toolkit/stats";

/** A function of a box that is to be maximized. */
interface Target {
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly value: (x: ArrayLike<number>) => number;
}

const box = (dimensions: number, low: number, high: number) => ({
  low: new Array<number>(dimensions).fill(low),
  high: new Array<number>(dimensions).fill(high),
});

/** Minus Branin's function; three maxima of -0.398. */
const branin: Target = {
  low: [-5, 0],
  high: [10, 15],
  value({ 0: x = 0, 1: y = 0 }) {
    const valley = y - (5.1 / (4 * Math.PI ** 2)) * x * x + (5 / Math.PI) * x - 6;
    return -(valley ** 2 + 10 * (1 - 1 / (8 * Math.PI)) * Math.cos(x) + 10);
  },
};

const HARTMANN_SCALES = [
  [10, 3, 17, 3.5, 1.7, 8],
  [0.05, 10, 17, 0.1, 8, 14],
  [3, 3.5, 1.7, 10, 17, 8],
  [17, 8, 0.05, 10, 0.1, 14],
];
const HARTMANN_CENTERS = [
  [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
  [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
  [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.665],
  [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
];

/** Minus Hartmann's function of six variables; largest 3.322. */
const hartmann: Target = {
  ...box(6, 0, 1),
  value: (x) =>
    [1, 1.2, 3, 3.2].reduce((total, height, i) => {
      const distance = HARTMANN_SCALES[i]!.reduce(
        (sum, scale, j) => sum + scale * (x[j]! - HARTMANN_CENTERS[i]![j]!) ** 2,
        0,
      );
      return total + height * Math.exp(-distance);
    }, 0),
};

/** Minus Ackley's function of ten variables; largest 0, in the middle. */
const ackley: Target = {
  ...box(10, -5, 5),
  value(x) {
    const d = x.length;
    const [squares, waves] = Array.from(x).reduce(
      ([s, w], v) => [s! + v * v, w! + Math.cos(2 * Math.PI * v)],
      [0, 0],
    ) as [number, number];
    return 20 * Math.exp(-0.2 * Math.sqrt(squares / d)) + Math.exp(waves / d) - 20 - Math.E;
  },
};

/** A draw from a Gaussian process on the unit cube of eight dimensions, squared-exponential of length 0.7. */
function gaussianProcess(random: RandomStream): Target {
  const [dimensions, features, length] = [8, 200, 0.7];
  const waves = Array.from({ length: features }, () => ({
    weight: random.normal() * Math.sqrt(2 / features),
    phase: 2 * Math.PI * random.uniform(),
    frequencies: Array.from({ length: dimensions }, () => random.normal() / length),
  }));
  return {
    ...box(dimensions, 0, 1),
    value: (x) =>
      waves.reduce((total, { weight, phase, frequencies }) => {
        const angle = frequencies.reduce((sum, w, j) => sum + w * x[j]!, phase);
        return total + weight * Math.cos(angle);
      }, 0),
  };
}

export const TASKS = ["branin", "hartmann", "ackley", "process"] as const;
export type TaskName = (typeof TASKS)[number];

/** Designs, standardized as the offline set is, row-major `[count, dimensions]`, and their standardized values. */
export interface Designs {
  readonly x: Float32Array;
  readonly y: Float32Array;
}

export interface OfflineTask {
  readonly dimensions: number;
  /** What may be learnt from: the lower 60% of 1000 uniform designs. */
  readonly offline: Designs;
  /** 500 more of the same kind. */
  readonly heldOut: Designs;
  /** The box in standardized coordinates. */
  readonly low: Float32Array;
  readonly high: Float32Array;
  /** The true, standardized value of a standardized design. */
  readonly value: (x: ArrayLike<number>) => number;
  /** Standardized values of the worst and the best of all 1000. */
  readonly least: number;
  readonly most: number;
}

export function offlineTask(name: TaskName, seed: number): OfflineTask {
  const random = randomStream(seed, name);
  const target = { branin, hartmann, ackley, process: gaussianProcess(random) }[name];
  const dimensions = target.low.length;
  const draw = () => target.low.map((low, j) => low + (target.high[j]! - low) * random.uniform());
  const evaluated = (designs: number[][]) => designs.map((x) => ({ x, y: target.value(x) }));
  const all = evaluated(Array.from({ length: 1000 }, draw)).sort((a, b) => a.y - b.y);
  const kept = all.slice(0, 600);
  const cut = kept.at(-1)!.y;
  const rest = evaluated(Array.from({ length: 2000 }, draw))
    .filter(({ y }) => y <= cut)
    .slice(0, 500);

  const moments = (values: readonly number[]) => {
    const center = values.reduce((a, b) => a + b, 0) / values.length;
    const spread = Math.sqrt(values.reduce((sum, v) => sum + (v - center) ** 2, 0) / values.length);
    return { center, spread };
  };
  const columns = target.low.map((_, j) => moments(kept.map(({ x }) => x[j]!)));
  const { center, spread } = moments(kept.map(({ y }) => y));
  const standardized = (rows: readonly { x: number[]; y: number }[]): Designs => ({
    x: Float32Array.from(
      rows.flatMap(({ x }) => x.map((v, j) => (v - columns[j]!.center) / columns[j]!.spread)),
    ),
    y: Float32Array.from(rows, ({ y }) => (y - center) / spread),
  });
  const edge = (values: readonly number[]): Float32Array =>
    Float32Array.from(values, (v, j) => (v - columns[j]!.center) / columns[j]!.spread);
  return {
    dimensions,
    offline: standardized(kept),
    heldOut: standardized(rest),
    low: edge(target.low),
    high: edge(target.high),
    value: (x) => {
      const own = Float64Array.from(x, (v, j) => v * columns[j]!.spread + columns[j]!.center);
      return (target.value(own) - center) / spread;
    },
    least: (all[0]!.y - center) / spread,
    most: (all.at(-1)!.y - center) / spread,
  };
}
