import type { Progress } from "@prior-art/toolkit/experiment";

/** One quantity that a law foretells. */
export interface Prediction {
  /** What it is, with its unit if it has one: "step size at which descent diverges". */
  readonly quantity: string;
  /** By the law, from what is known before training. Not 0. */
  readonly predicted: number;
  /** In the trained or simulated system. */
  readonly measured: number;
}

export interface Observation {
  /** The only source of randomness. */
  readonly seed: number;
  /** Look briefly: smaller systems, fewer repetitions. */
  readonly brief: boolean;
}

/** A phenomenon of learning: a training set-up, and measurements in it that a law predicts. */
export interface Phenomenon {
  /** Runs the set-up once; yields progress, returns predictions with what was measured. */
  observe(observation: Observation): AsyncGenerator<Progress, readonly Prediction[], void>;
}

/** What a room provides to enter the family's shared task. */
export interface Contender {
  /** The law's name in tables. */
  readonly label: string;
  readonly phenomenon: Phenomenon;
}

/** `|measured - predicted| / |predicted|`. @throws RangeError when the prediction is 0 or not finite. */
export function relativeError({ quantity, predicted, measured }: Prediction): number {
  if (!(Number.isFinite(predicted) && predicted !== 0))
    throw new RangeError(`relativeError: the prediction of "${quantity}" is ${predicted}`);
  return Math.abs(measured - predicted) / Math.abs(predicted);
}
