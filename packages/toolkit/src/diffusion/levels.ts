import { add, div, mul, scalar, sub, type Tensor, tensor } from "@prior-art/tensor";

/**
 * How much of each a noisy `x = signal · clean + noise · ε` holds (α and σ), as tensors that broadcast against
 * `[batch, dimensions]`: without axes, or `[batch, 1]`.
 */
export interface Level {
  readonly signal: Tensor;
  readonly noise: Tensor;
}

/** α and σ as numbers. */
export interface LevelNumbers {
  readonly signal: number;
  readonly noise: number;
}

/** A level's numbers as tensors without axes. */
export const levelOf = (
  { signal, noise }: LevelNumbers,
  dtype: "float32" | "float64" = "float32",
): Level => ({
  signal: scalar(signal, dtype),
  noise: scalar(noise, dtype),
});

/** Noise levels by time: clean data at t = 0, (nearly) pure noise at t = 1. */
export interface NoiseSchedule {
  readonly name: string;
  /** α(t) and σ(t), t in [0, 1]. */
  level(t: number): LevelNumbers;
}

export interface DdpmOptions {
  /** Default 1000. */
  readonly steps?: number;
  /** β of the first and of the last step, 1e-4 and 0.02 by default; in between on a line. */
  readonly betas?: readonly [first: number, last: number];
}

/** The linear schedule of Ho et al. (2020): `α² = Π (1 − β)`, `σ² = 1 − α²`, constant between its steps. */
export function ddpmSchedule({ steps = 1000, betas: [first, last] = [1e-4, 0.02] }: DdpmOptions = {}) {
  requireSteps("ddpmSchedule", steps);
  const kept = new Float64Array(steps + 1).fill(1);
  for (let i = 1; i <= steps; i++)
    kept[i] = kept[i - 1]! * (1 - (first + ((last - first) * (i - 1)) / Math.max(1, steps - 1)));
  return {
    name: "ddpm",
    level: (t: number) => preserving(kept[Math.round(requireTime("ddpmSchedule", t) * steps)]!),
  } satisfies NoiseSchedule;
}

/** The cosine schedule of Nichol and Dhariwal (2021, eq. 17), with its offset s = 0.008. */
export function cosineSchedule({ offset = 0.008 }: { readonly offset?: number } = {}) {
  const f = (t: number): number => Math.cos((((t + offset) / (1 + offset)) * Math.PI) / 2) ** 2;
  return {
    name: "cosine",
    level: (t: number) => preserving(f(requireTime("cosineSchedule", t)) / f(0)),
  } satisfies NoiseSchedule;
}

/** The straight path of flow matching and rectified flow: `x = (1 − t) clean + t ε`. */
export function flowSchedule() {
  return {
    name: "flow",
    level: (t: number) => ({ signal: 1 - requireTime("flowSchedule", t), noise: t }),
  } satisfies NoiseSchedule;
}

export interface KarrasOptions {
  /** Smallest and largest σ of a path, 0.002 and 80 by default (data of standard deviation 0.5). */
  readonly range?: readonly [min: number, max: number];
  /** ρ, 7 by default. */
  readonly rho?: number;
}

/** Variance-exploding levels of Karras et al. (2022, eq. 5): α = 1 and σ between the ends of `range`, σ(0) = 0. */
export function karrasSchedule({ range: [min, max] = [0.002, 80], rho = 7 }: KarrasOptions = {}) {
  const [low, high] = [min ** (1 / rho), max ** (1 / rho)];
  return {
    name: "karras",
    level: (t: number) => ({
      signal: 1,
      noise: requireTime("karrasSchedule", t) === 0 ? 0 : (low + t * (high - low)) ** rho,
    }),
  } satisfies NoiseSchedule;
}

/** The levels that a sampler goes through, from noise to clean data; as many entries as steps, and one more. */
export interface Path {
  readonly signal: Float64Array;
  readonly noise: Float64Array;
}

/**
 * `steps` steps of equal time from t = `from` down to t = 0.
 * @throws RangeError unless there is at least one step.
 */
export function pathOf(schedule: NoiseSchedule, steps: number, from = 1): Path {
  requireSteps("pathOf", steps);
  const levels = Array.from({ length: steps + 1 }, (_, i) => schedule.level(from * (1 - i / steps)));
  return {
    signal: Float64Array.from(levels, ({ signal }) => signal),
    noise: Float64Array.from(levels, ({ noise }) => noise),
  };
}

/** The levels at t = 1/count, …, 1 as two tensors `[count]`, for training to draw from. */
export function levelTable(schedule: NoiseSchedule, count = 1000): Level {
  const { signal, noise } = pathOf(schedule, count);
  const ascending = (values: Float64Array): Tensor => tensor(Float32Array.from(values).reverse().slice(1));
  return { signal: ascending(signal), noise: ascending(noise) };
}

/** `signal · clean + noise · ε`. */
export const diffuse = (clean: Tensor, epsilon: Tensor, { signal, noise }: Level): Tensor =>
  add(mul(signal, clean), mul(noise, epsilon));

/** ε̂: the noise in `x` when the clean data are `clean`. */
export const noiseIn = (x: Tensor, clean: Tensor, { signal, noise }: Level): Tensor =>
  div(sub(x, mul(signal, clean)), noise);

function preserving(kept: number): LevelNumbers {
  return { signal: Math.sqrt(kept), noise: Math.sqrt(1 - kept) };
}

function requireTime(caller: string, t: number): number {
  if (!(t >= 0 && t <= 1)) throw new RangeError(`${caller}: a time is in [0, 1], got ${t}`);
  return t;
}

function requireSteps(caller: string, steps: number): void {
  if (!(Number.isInteger(steps) && steps >= 1))
    throw new RangeError(`${caller}: steps must be a whole number of at least 1, got ${steps}`);
}
