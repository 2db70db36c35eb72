import {
  add,
  cast,
  div,
  equal,
  expandDims,
  log,
  logSumExp,
  mul,
  softmax,
  square,
  sub,
  sum,
  type Tensor,
  tensor,
  where,
} from "@prior-art/tensor";
import type { RandomStream } from "../stats/index.ts";
import type { Denoiser } from "./guidance.ts";
import type { Level } from "./levels.ts";
import { scoreFrom } from "./prediction.ts";

/** One Gaussian of a mixture, with independent coordinates. */
export interface MixtureComponent {
  readonly mean: readonly number[];
  /** Standard deviation, of all coordinates or of each. */
  readonly deviation: number | readonly number[];
  /** Share of the whole; shares are divided by their sum. 1 by default. */
  readonly weight?: number;
  /** Class, 0 by default. */
  readonly label?: number;
}

/** A distribution of which everything that diffusion needs is known exactly, at every level. */
export interface GaussianMixture {
  readonly dimensions: number;
  readonly classes: number;
  /** Log-density of noisy data, in nats, `[batch]`; of the classes in `labels` (int32 `[batch]`), or of all. */
  logDensity(x: Tensor, level: Level, labels?: Tensor | null): Tensor;
  /** ∇ₓ of it, `[batch, dimensions]`. */
  score(x: Tensor, level: Level, labels?: Tensor | null): Tensor;
  /** E[clean | x]: the ideal denoiser. */
  readonly denoise: Denoiser;
  /** `count` clean points, row-major `[count, dimensions]`, with their classes; of one class, or of all. */
  sample(
    count: number,
    random: RandomStream,
    label?: number,
  ): { readonly values: Float32Array; readonly labels: Int32Array };
}

/**
 * A mixture of Gaussians with diagonal covariances, whose components belong to classes.
 * @throws RangeError when components differ in dimensions, or a deviation, weight or label is out of range.
 */
export function gaussianMixture(components: readonly MixtureComponent[]): GaussianMixture {
  const dimensions = components[0]?.mean.length ?? 0;
  requireComponents(components, dimensions);
  const shape = [components.length, dimensions];
  const means = tensor(Float64Array.from(components.flatMap(({ mean }) => mean)), { shape });
  const deviations = components.map(({ deviation }) =>
    typeof deviation === "number" ? new Array<number>(dimensions).fill(deviation) : deviation,
  );
  const variances = square(tensor(Float64Array.from(deviations.flat()), { shape }));
  const weights = components.map(({ weight = 1 }) => weight);
  const total = weights.reduce((a, b) => a + b, 0);
  const logWeights = tensor(Float64Array.from(weights, (weight) => Math.log(weight / total)));
  const labelOf = components.map(({ label = 0 }) => label);
  const ofComponent = tensor(Int32Array.from(labelOf));
  const classes = Math.max(...labelOf) + 1;

  /** Log of weight times density of each component, `[batch, components]`, and the pieces that it is made of. */
  const joint = (x: Tensor, level: Level, labels: Tensor | null) => {
    const as = (t: Tensor): Tensor => cast(t, x.dtype);
    const [signal, noise] = [alongComponents(level.signal), alongComponents(level.noise)];
    const spread = add(mul(square(signal), as(variances)), square(noise));
    const away = sub(expandDims(x, 1), mul(signal, as(means)));
    const quadratic = sum(add(div(square(away), spread), log(mul(2 * Math.PI, spread))), -1);
    const prior = labels ? ofClass(as(logWeights), labels) : as(logWeights);
    return { logits: sub(prior, mul(0.5, quadratic)), spread, away, signal, as };
  };
  /** Log-weights within a class: `[batch, components]`. */
  const ofClass = (logs: Tensor, labels: Tensor): Tensor => {
    const mine = where(equal(expandDims(labels, 1), ofComponent), logs, Number.NEGATIVE_INFINITY);
    return sub(mine, logSumExp(mine, -1, true));
  };
  const denoise: Denoiser = (x, level, labels) => {
    const { logits, spread, away, signal, as } = joint(x, level, labels);
    const ofEach = add(as(means), mul(div(mul(signal, as(variances)), spread), away));
    return sum(mul(expandDims(softmax(logits), -1), ofEach), 1);
  };
  return {
    dimensions,
    classes,
    logDensity: (x, level, labels = null) => logSumExp(joint(x, level, labels).logits, -1),
    score: (x, level, labels = null) => scoreFrom(denoise(x, level, labels), x, level),
    denoise,
    sample(count, random, label) {
      const allowed = weights.map((weight, k) => (label === undefined || labelOf[k] === label ? weight : 0));
      const mass = allowed.reduce((a, b) => a + b, 0);
      if (!(mass > 0)) throw new RangeError(`gaussianMixture: no component has the label ${label}`);
      const values = new Float32Array(count * dimensions);
      const labels = new Int32Array(count);
      for (let i = 0; i < count; i++) {
        let left = random.uniform() * mass;
        let k = allowed.findIndex((weight) => weight > 0 && (left -= weight) < 0);
        if (k < 0) k = allowed.findLastIndex((weight) => weight > 0);
        labels[i] = labelOf[k]!;
        for (let d = 0; d < dimensions; d++)
          values[i * dimensions + d] = components[k]!.mean[d]! + deviations[k]![d]! * random.normal();
      }
      return { values, labels };
    },
  };
}

/** A level's `[batch, 1]` as `[batch, 1, 1]`, so that it broadcasts against `[batch, components, dimensions]`. */
const alongComponents = (value: Tensor): Tensor => (value.rank === 2 ? expandDims(value, 1) : value);

function requireComponents(components: readonly MixtureComponent[], dimensions: number): void {
  if (dimensions === 0) throw new RangeError("gaussianMixture: a component with a mean is needed");
  components.forEach(({ mean, deviation, weight = 1, label = 0 }, k) => {
    const each = typeof deviation === "number" ? [deviation] : deviation;
    const fits = mean.length === dimensions && (typeof deviation === "number" || each.length === dimensions);
    if (!fits) throw new RangeError(`gaussianMixture: component ${k} doesn't have ${dimensions} dimensions`);
    if (!(each.every((d) => d >= 0) && weight > 0 && Number.isInteger(label) && label >= 0))
      throw new RangeError(
        `gaussianMixture: component ${k} needs deviations ≥ 0, a weight > 0 and a whole label ≥ 0`,
      );
  });
}
