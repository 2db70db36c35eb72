import {
  add,
  clip,
  cos,
  div,
  exp,
  floor,
  greaterEqual,
  less,
  minimum,
  mod,
  mul,
  pow,
  sub,
  type Tensor,
  where,
} from "@prior-art/tensor";

/** A number from the number of steps taken, a float scalar tensor (0 at the first step); traceable. */
export type Schedule = (step: Tensor) => Tensor | number;

const positive = (name: string, value: number): void => {
  if (!(value > 0)) throw new RangeError(`${name} must be positive, got ${value}`);
};

/** The share of `steps` that is over, 0 to 1. */
const progress = (step: Tensor, steps: number): Tensor => clip(div(step, steps), 0, 1);

export const constantSchedule =
  (value: number): Schedule =>
  () =>
    value;

/** From `start` to `end` in a straight line over `steps`, then constant. */
export function linearSchedule(start: number, end: number, steps: number): Schedule {
  positive("linearSchedule: steps", steps);
  return (step) => add(start, mul(end - start, progress(step, steps)));
}

/** From `start` to `end` as `(1 - t)^power` over `steps`, then constant. */
export function polynomialSchedule(start: number, end: number, steps: number, power: number): Schedule {
  positive("polynomialSchedule: steps", steps);
  positive("polynomialSchedule: power", power);
  return (step) => add(end, mul(start - end, pow(sub(1, progress(step, steps)), power)));
}

/** Half a cosine from `start` to `end` over `steps`, then constant (Loshchilov & Hutter, 2017). */
export function cosineDecay(start: number, steps: number, end = 0): Schedule {
  positive("cosineDecay: steps", steps);
  return (step) => add(end, mul((start - end) / 2, add(1, cos(mul(Math.PI, progress(step, steps))))));
}

/** Half cosines of `period` steps, each from `start` to `end` again. */
export function cosineRestarts(start: number, period: number, end = 0): Schedule {
  positive("cosineRestarts: period", period);
  const once = cosineDecay(start, period, end);
  return (step) => once(mod(step, period));
}

/** `start · rate^(step / steps)`; with `staircase`, in jumps. */
export function exponentialDecay(start: number, rate: number, steps: number, staircase = false): Schedule {
  positive("exponentialDecay: steps", steps);
  positive("exponentialDecay: rate", rate);
  return (step) => {
    const t = div(step, steps);
    return mul(start, exp(mul(staircase ? floor(t) : t, Math.log(rate))));
  };
}

/** `values[i]` from step `boundaries[i - 1]` on; one value more than boundaries. */
export function piecewiseConstant(values: readonly number[], boundaries: readonly number[]): Schedule {
  if (values.length !== boundaries.length + 1)
    throw new RangeError(
      `piecewiseConstant: ${values.length} values need ${values.length - 1} boundaries, got ${boundaries.length}`,
    );
  return (step) =>
    boundaries.reduce<Tensor>(
      (value, boundary, i) => where(greaterEqual(step, boundary), add(mul(step, 0), values[i + 1]!), value),
      add(mul(step, 0), values[0]!),
    );
}

/** `first` for `boundary` steps, then `second`, which counts from 0 again. */
export const joinSchedules =
  (first: Schedule, second: Schedule, boundary: number): Schedule =>
  (step) =>
    where(
      less(step, boundary),
      add(mul(step, 0), first(minimum(step, boundary))),
      add(mul(step, 0), second(clip(sub(step, boundary), 0))),
    );

/** A straight line from 0 to `peak` over `warmup` steps, then half a cosine to `end` at step `steps`. */
export const warmupCosine = (peak: number, warmup: number, steps: number, end = 0): Schedule =>
  joinSchedules(linearSchedule(0, peak, warmup), cosineDecay(peak, steps - warmup, end), warmup);
