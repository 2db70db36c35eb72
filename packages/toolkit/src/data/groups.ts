import { randomStream } from "../stats/random.ts";

export interface SpuriousOptions {
  /** Share of the examples whose attribute equals their label, in [0, 1]; exactly round(agreement · examples). */
  readonly agreement: number;
  /** Classes, and values of the attribute. */
  readonly classes: number;
  readonly seed: number;
}

export interface SpuriousAttribute {
  /** `[examples]`, in `0 … classes - 1` */
  readonly attributes: Int32Array;
  /** `label · classes + attribute`, `[examples]` */
  readonly groups: Int32Array;
}

/**
 * An attribute that mostly agrees with the label without having to do with it, and the groups of both: what a
 * classifier may rely on by mistake.
 * @throws RangeError unless `agreement` is in [0, 1] and there are two classes or more.
 */
export function spuriousAttribute(
  labels: Int32Array,
  { agreement, classes, seed }: SpuriousOptions,
): SpuriousAttribute {
  if (!(agreement >= 0 && agreement <= 1 && classes >= 2))
    throw new RangeError(
      `spuriousAttribute: needs agreement in [0, 1] and two classes, got ${agreement}, ${classes}`,
    );
  const random = randomStream(seed, "spurious-attribute");
  const attributes = labels.slice();
  const disagreeing = labels.length - Math.round(agreement * labels.length);
  for (const i of random.permutation(labels.length).slice(0, disagreeing))
    attributes[i] = (labels[i]! + 1 + random.integer(classes - 1)) % classes;
  return { attributes, groups: attributes.map((attribute, i) => labels[i]! * classes + attribute) };
}

/**
 * Colours images: each goes into the channel of its attribute, the other channels are 0, as in ColoredMNIST (Arjovsky et
 * al., 2019).
 * @param images `[examples, pixels]`
 * @returns `[examples, channels · pixels]`
 */
export function colorize(images: Float32Array, attributes: Int32Array, channels: number): Float32Array {
  const pixels = images.length / attributes.length;
  if (!Number.isInteger(pixels))
    throw new RangeError(`colorize: ${images.length} pixels for ${attributes.length} attributes`);
  const colored = new Float32Array(images.length * channels);
  attributes.forEach((attribute, i) => {
    if (!(attribute >= 0 && attribute < channels))
      throw new RangeError(`colorize: attribute ${attribute} of image ${i} is no channel of ${channels}`);
    colored.set(images.subarray(i * pixels, (i + 1) * pixels), (i * channels + attribute) * pixels);
  });
  return colored;
}
