import type { Arm, Regime } from "./sweep.ts";

/** `count` numbers from `first`, each `factor` times the one before. */
const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

export interface Cell extends Readonly<Record<string, number>> {
  readonly rate: number;
  /** Decay or penalty; for LAWN, the free phase's share of the training. */
  readonly second: number;
}

/** 32 cells for each arm and regime: eight rates by four values; Adam has rates alone. */
const eightRates = (first: number, seconds: readonly number[]): Cell[] =>
  geometric(first, 2.2, 8).flatMap((rate) => seconds.map((second) => ({ rate, second })));
const rates = (first: number): Cell[] => geometric(first, 1.2, 32).map((rate) => ({ rate, second: 0 }));

/** 1 leaves the base optimizer as it is, as a decay of 0 does: natural ends, like a free phase of 0. */
const FREE_SHARES = [0, 0.05, 0.15, 1];
/** Wrong labels want more decay. */
const ADAMW_DECAYS = { noisy: [0, 0.4, 1.5, 6], clean: [0, 0.1, 0.5, 2.5] };
const SGD_PENALTIES = { noisy: [0, 4e-3, 1.6e-2, 6.4e-2], clean: [0, 1e-3, 6e-3, 3.6e-2] };
const ADAM_PENALTIES = { noisy: [0, 2e-3, 8e-3, 3.2e-2], clean: [0, 1e-3, 4e-3, 1.6e-2] };

interface Seconds {
  readonly noisy: readonly number[];
  readonly clean: readonly number[];
}

type Grids = Readonly<Record<Regime, readonly Cell[]>>;

const gridsOf = (first: Readonly<Record<Regime, number>>, { noisy, clean }: Seconds): Grids => ({
  noisySmall: eightRates(first.noisySmall, noisy),
  noisyFull: eightRates(first.noisyFull, noisy),
  cleanSmall: eightRates(first.cleanSmall, clean),
  cleanFull: eightRates(first.cleanFull, clean),
});

const FREE = { noisy: FREE_SHARES, clean: FREE_SHARES };
const ADAM_RATES = { noisySmall: 3e-4, noisyFull: 1e-3, cleanSmall: 1e-3, cleanFull: 1.6e-3 };
const SGD_RATES = { noisySmall: 2e-3, noisyFull: 0.02, cleanSmall: 4e-3, cleanFull: 0.01 };

export const GRIDS: Readonly<Record<Arm, Grids>> = {
  adam: {
    noisySmall: rates(2e-4),
    noisyFull: rates(5e-4),
    cleanSmall: rates(4e-4),
    cleanFull: rates(5e-4),
  },
  adamL2: gridsOf(ADAM_RATES, ADAM_PENALTIES),
  adamw: gridsOf(ADAM_RATES, ADAMW_DECAYS),
  adamLawn: gridsOf(ADAM_RATES, FREE),
  sgd: gridsOf(SGD_RATES, SGD_PENALTIES),
  sgdLawn: gridsOf(SGD_RATES, FREE),
};

/** Rates at which Adam is compared with Adam-LAWN at one and the same rate, whose free phase is a twentieth. */
const EQUAL_RATES = [0.002, 0.005, 0.01, 0.02, 0.04];

/** The cells of that comparison, none for the other arms. */
export const equalCells = (arm: Arm): readonly Cell[] =>
  arm === "adam" || arm === "adamLawn"
    ? EQUAL_RATES.map((rate) => ({ rate, second: arm === "adam" ? 0 : 0.05 }))
    : [];
