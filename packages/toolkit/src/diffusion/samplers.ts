import {
  add,
  arange,
  cast,
  concat,
  type DType,
  div,
  expandDims,
  maximum,
  mul,
  random,
  scan,
  slice,
  sqrt,
  square,
  sub,
  type Tensor,
  tensor,
  treeMap,
} from "@prior-art/tensor";
import { type Denoiser, type Guidance, type GuidedStep, unguided } from "./guidance.ts";
import { type Level, noiseIn, type Path } from "./levels.ts";

export interface SamplingProblem<S> {
  readonly denoiser: Denoiser;
  /** From noise to clean data; it ends at noise 0. */
  readonly path: Path;
  /** Data at the path's first level, `[batch, dimensions]`; `startingNoise` draws them. */
  readonly start: Tensor;
  /** Class of each example, int32 `[batch]`; `null` for a model without classes. */
  readonly labels: Tensor | null;
  /** `unguided()` by default. */
  readonly guidance?: Guidance<S>;
  /** For samplers and guidance that draw random numbers. */
  readonly key: Tensor;
}

/** Pure noise at the path's first level. */
export const startingNoise = (key: Tensor, shape: readonly number[], { noise }: Path): Tensor =>
  mul(random.normal(key, [...shape]), noise[0]!);

export interface DdimOptions {
  /** 0 (default) is deterministic (Song et al., 2021), 1 draws from the posterior as DDPM does (Ho et al., 2020). */
  readonly eta?: number;
}

/**
 * DDIM for any path `x = α clean + σ ε` (Song et al., 2021, eq. 12). Without noise it is Euler's method on the
 * probability-flow ODE in x/α, and on straight paths Euler's method on the flow.
 * @returns samples `[batch, dimensions]`.
 */
export const ddim = <S>(problem: SamplingProblem<S>, options: DdimOptions = {}): Tensor =>
  walk(problem, options)[0];

/** The same, with the data before each step and at the end, `[steps + 1, batch, dimensions]`. */
export function ddimTrajectory<S>(problem: SamplingProblem<S>, options: DdimOptions = {}): Tensor {
  return walk(problem, options)[1];
}

/** Mean and variance (a tensor without axes) of one DDIM step from `level` to the cleaner level `next`. */
export function ddimStep(
  x: Tensor,
  clean: Tensor,
  level: Level,
  next: Level,
  eta: number,
): { readonly mean: Tensor; readonly variance: Tensor } {
  const step = div(level.signal, next.signal);
  const added = sub(square(level.noise), square(mul(step, next.noise)));
  const posterior = div(mul(square(next.noise), added), square(level.noise));
  const variance = mul(eta * eta, maximum(posterior, 0));
  const kept = sqrt(maximum(sub(square(next.noise), variance), 0));
  return { mean: add(mul(next.signal, clean), mul(kept, noiseIn(x, clean, level))), variance };
}

function walk<S>(problem: SamplingProblem<S>, { eta = 0 }: DdimOptions): readonly [Tensor, Tensor] {
  const { start, key } = problem;
  const guidance = guidanceOf(problem);
  const [[samples], before] = scan(
    ([x, state]: readonly [Tensor, S], [level, next, index, stepKey]: Step) => {
      const [clean, after] = guidance.combine(guidedStep(problem, x, level, index, stepKey), state);
      const { mean, variance } = ddimStep(x, clean, level, next, eta);
      const dtype = x.dtype as "float32" | "float64";
      const drawn = eta > 0 ? random.normal(random.fold(stepKey, 1), x.shape, { dtype }) : undefined;
      return [[drawn ? add(mean, mul(sqrt(variance), drawn)) : mean, after] as const, x] as const;
    },
    [start, guidance.init(start)] as const,
    sequence(problem.path, start.dtype, key),
  );
  return [samples, concat([before, expandDims(samples, 0)])];
}

/**
 * Heun's second-order method on the probability-flow ODE (Karras et al., 2022, algorithm 1) for any path: in y = x/α and
 * s = σ/α, `dy/ds = ε̂`. Two guided evaluations a step, one in the last.
 * @returns samples `[batch, dimensions]`.
 * @throws RangeError for a path that starts without any signal, where s is infinite.
 */
export function heun<S>(problem: SamplingProblem<S>): Tensor {
  const { path, start, key } = problem;
  if (path.signal[0] === 0) throw new RangeError("heun: the path's first level must have some signal");
  const guidance = guidanceOf(problem);
  const steps = path.signal.length - 1;
  const all = sequence(path, start.dtype, key);
  const [[x, state]] = scan(
    ([x, before]: readonly [Tensor, S], [level, next, index, stepKey]: Step) => {
      const [clean, between] = guidance.combine(guidedStep(problem, x, level, index, stepKey), before);
      const slope = noiseIn(x, clean, level);
      const scaled = div(x, level.signal);
      const width = sub(div(next.noise, next.signal), div(level.noise, level.signal));
      const euler = mul(next.signal, add(scaled, mul(width, slope)));
      const correction = guidedStep(problem, euler, next, index, random.fold(stepKey, 1));
      const [corrected, after] = guidance.combine(correction, between);
      const average = mul(0.5, add(slope, noiseIn(euler, corrected, next)));
      return [[mul(next.signal, add(scaled, mul(width, average))), after] as const, null];
    },
    [start, guidance.init(start)] as const,
    treeMap((t) => slice(t, [0, steps - 1]), all),
  );
  const [level, next, index, stepKey] = treeMap((t) => slice(t, steps - 1), all);
  const [clean] = guidance.combine(guidedStep(problem, x, level, index, stepKey), state);
  return ddimStep(x, clean, level, next, 0).mean;
}

/** The level before a step, the one after it, the step's number, and its key. */
type Step = readonly [level: Level, next: Level, index: Tensor, key: Tensor];

/** All steps of a path, stacked. @throws RangeError unless the path has at least one step and ends without noise. */
function sequence({ signal, noise }: Path, dtype: DType, key: Tensor): Step {
  const steps = signal.length - 1;
  if (steps < 1 || noise.length !== signal.length || noise[steps] !== 0)
    throw new RangeError("sampler: a path needs a step, as much noise as signal, and no noise at its end");
  const part = (values: Float64Array, from: number): Tensor =>
    cast(tensor(values.slice(from, from + steps)), dtype);
  return [
    { signal: part(signal, 0), noise: part(noise, 0) },
    { signal: part(signal, 1), noise: part(noise, 1) },
    arange(steps),
    random.split(key, steps),
  ];
}

const guidanceOf = <S>({ guidance }: SamplingProblem<S>): Guidance<S> =>
  guidance ?? (unguided() as unknown as Guidance<S>);

const guidedStep = (
  { denoiser, labels, path }: SamplingProblem<unknown>,
  x: Tensor,
  level: Level,
  index: Tensor,
  key: Tensor,
): GuidedStep => ({
  x,
  level,
  index,
  count: path.signal.length - 1,
  key,
  conditional: (at = x) => denoiser(at, level, labels),
  unconditional: (at = x) => denoiser(at, level, null),
});
