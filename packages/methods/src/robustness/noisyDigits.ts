import { type Tensor, tensor } from "@prior-art/tensor";
import {
  digits,
  type LabelNoise,
  labelNoise,
  selectEntries,
  selectRows,
  stratifiedSplit,
} from "@prior-art/toolkit/data";

export interface DigitsPart {
  /** Grey levels 0–1, `[examples, 64]`. */
  readonly inputs: Tensor;
  /** True classes, int32 `[examples]`. */
  readonly labels: Tensor;
}

export interface NoisyDigits {
  readonly train: DigitsPart & {
    /** What training sees, int32 `[examples]`. */
    readonly observed: Tensor;
    /** Positions of the wrong labels, int32 `[wrong]`. */
    readonly wrong: Tensor;
  };
  /** Right labels. */
  readonly validation: DigitsPart;
  /** Right labels. */
  readonly test: DigitsPart;
}

export interface NoisyDigitsOptions {
  readonly train: number;
  /** 300 by default. */
  readonly validation?: number;
  /** 500 by default. */
  readonly test?: number;
  /** Share of the training labels that are wrong. */
  readonly rate: number;
  /** `"symmetric"` by default. */
  readonly kind?: LabelNoise["kind"];
  readonly seed: number;
}

/** 8×8 digits with wrong labels in the training part alone. */
export async function noisyDigits(options: NoisyDigitsOptions): Promise<NoisyDigits> {
  const { train, validation = 300, test = 500, rate, kind = "symmetric", seed } = options;
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train, validation, test, seed });
  const part = (indices: Int32Array): DigitsPart => ({
    inputs: tensor(
      selectRows(features, shape, indices).map((v) => v / 16),
      { shape: [indices.length, 64] },
    ),
    labels: tensor(selectEntries(labels, indices)),
  });
  const noisy = labelNoise(selectEntries(labels, split.train), { rate, classes: 10, seed, kind });
  return {
    train: { ...part(split.train), observed: tensor(noisy.labels), wrong: tensor(noisy.corrupted) },
    validation: part(split.validation),
    test: part(split.test),
  };
}
