import { expectedReward, gibbsPolicy, sequenceKl, type TokenPolicy } from "@prior-art/toolkit/lm";
import { spearman } from "@prior-art/toolkit/stats";
import { chainPolicy, chainRows, type Word, type WordReward, wordProcess } from "../chainLanguage.ts";
import { realignPolicy } from "./method.ts";

/** The KL weight that the one aligned model was made for. */
export const BETA = 0.2;
export const LAMBDAS = [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5];
/** λ up to which the approximation is claimed to be close. */
const MODERATE = 2;
/** What a KL may cost for whoever looks for the best strength; the best β is this number. */
const PRICES = [0.1, 0.4];

export interface Curve {
  readonly reward: readonly number[];
  /** KL to the reference, nats a word. */
  readonly kl: readonly number[];
}

export interface ExactResult {
  readonly dera: Curve;
  readonly retrained: Curve;
  readonly temperature: Curve;
  /** Largest reward gap to the retrained models over λ ≤ 2, as a share of the retrained rewards' range there. */
  readonly gap: number;
  readonly temperatureGap: number;
  /** Rank correlation with the retrained rewards, over λ ≤ 2. */
  readonly rankCorrelation: number;
  /** Smallest rise of the reward from one λ to the next, over λ ≤ 2. */
  readonly smallestRise: number;
  /** Reward gap at λ = 5, as the same share. */
  readonly extremeGap: number;
  /** Rise of the reward from λ = 1 to λ = 2. */
  readonly extrapolation: number;
  /** What retraining with the strength that the sweep picks gains over the original strength; smallest over prices. */
  readonly sweepGain: number;
  /** What it loses against the best strength of the grid; largest over prices. */
  readonly sweepRegret: number;
}

/** All curves of one language and reward, by dynamic programming. */
export function exactRealignment(seed: number, reward: WordReward): ExactResult {
  const process = wordProcess(reward);
  const { vocabulary } = process;
  const reference = chainPolicy(process, chainRows(seed));
  const aligned = gibbsPolicy<Word>(process, reference, BETA).policy;
  const curve = (policyAt: (lambda: number) => TokenPolicy): Curve => {
    const policies = LAMBDAS.map(policyAt);
    return {
      reward: policies.map((policy) => expectedReward(process, policy)),
      kl: policies.map((policy) => sequenceKl(process, policy, reference)),
    };
  };
  const flat = new Float64Array(reference.length).fill(1 / vocabulary);
  const dera = curve((lambda) => realignPolicy(reference, aligned, vocabulary, lambda));
  const retrained = curve((lambda) =>
    lambda === 0 ? reference : gibbsPolicy<Word>(process, reference, BETA / lambda).policy,
  );
  // λ h: the aligned model alone, at temperature 1/λ; mixing with a uniform model does just that.
  const temperature = curve((lambda) => realignPolicy(flat, aligned, vocabulary, lambda));

  const count = LAMBDAS.indexOf(MODERATE) + 1;
  const moderate = (values: readonly number[]) => values.slice(0, count);
  const range = Math.max(...moderate(retrained.reward)) - Math.min(...moderate(retrained.reward));
  const gaps = (other: Curve) => other.reward.map((r, i) => Math.abs(r - retrained.reward[i]!) / range);
  const rises = moderate(dera.reward)
    .slice(1)
    .map((r, i) => r - dera.reward[i]!);
  const at = (lambda: number) => LAMBDAS.indexOf(lambda);
  const sweeps = PRICES.map((price) => {
    const value = ({ reward: r, kl }: Curve, i: number): number => r[i]! - price * kl[i]!;
    const best = (of: Curve) => LAMBDAS.reduce((top, _, i) => (value(of, i) > value(of, top) ? i : top), 0);
    const picked = value(retrained, best(dera));
    return { gain: picked - value(retrained, at(1)), regret: value(retrained, best(retrained)) - picked };
  });
  return {
    dera,
    retrained,
    temperature,
    gap: Math.max(...moderate(gaps(dera))),
    temperatureGap: Math.max(...moderate(gaps(temperature))),
    rankCorrelation: spearman(moderate(dera.reward), moderate(retrained.reward)),
    smallestRise: Math.min(...rises),
    extremeGap: gaps(dera)[at(5)]!,
    extrapolation: dera.reward[at(2)]! - dera.reward[at(1)]!,
    sweepGain: Math.min(...sweeps.map(({ gain }) => gain)),
    sweepRegret: Math.max(...sweeps.map(({ regret }) => regret)),
  };
}
