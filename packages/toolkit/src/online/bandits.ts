import type { RandomStream } from "../stats/index.ts";
import { sampleAction } from "./averagePlan.ts";
import type { OnlineLearner } from "./learner.ts";
import type { Regularizer } from "./regularizers.ts";

/** A multi-armed bandit whose losses in [0, 1] don't depend on what is played. */
export interface BanditEnvironment {
  readonly arms: number;
  /** Mean losses of the arms in round `round`, counted from 0: `[arms]`. */
  means(round: number): Float64Array;
  /** The losses of a round, `[arms]`. */
  losses(round: number, random: RandomStream): Float64Array;
}

/** Bernoulli losses with fixed means. @throws RangeError when a mean is outside [0, 1] or there are fewer than two. */
export function stochasticBandit(means: readonly number[]): BanditEnvironment {
  return switchingBandit([{ means, until: Number.POSITIVE_INFINITY }]);
}

/**
 * Bernoulli losses whose means change after given rounds: an adversary that is oblivious to the play.
 *
 * @throws RangeError when a mean is outside [0, 1], arms differ in number, or the last phase ends.
 */
export function switchingBandit(
  phases: readonly { readonly means: readonly number[]; readonly until: number }[],
): BanditEnvironment {
  const arms = phases[0]?.means.length ?? 0;
  if (arms < 2 || phases.some(({ means }) => means.length !== arms || means.some((m) => !(m >= 0 && m <= 1))))
    throw new RangeError("switchingBandit: every phase needs the same two or more means in [0, 1]");
  if (phases.at(-1)!.until !== Number.POSITIVE_INFINITY)
    throw new RangeError("switchingBandit: the last phase must last forever");
  const tables = phases.map(({ means }) => Float64Array.from(means));
  const means = (round: number): Float64Array => tables[phases.findIndex(({ until }) => round < until)]!;
  return {
    arms,
    means,
    losses: (round, random) => means(round).map((m) => (random.uniform() < m ? 1 : 0)),
  };
}

/** The loss of the arm played. */
export interface BanditFeedback {
  readonly arm: number;
  readonly loss: number;
}

/**
 * Follow the regularized leader on importance-weighted losses: Exp3 with `entropy`, Tsallis-INF with `tsallis()`.
 *
 * @param rate η_t by round, counted from 1.
 */
export function banditFtrl(
  arms: number,
  { regularizer, rate }: { readonly regularizer: Regularizer; readonly rate: (round: number) => number },
): OnlineLearner<number, BanditFeedback> {
  const total = new Float64Array(arms);
  let round = 0;
  let probabilities = new Float64Array(arms);
  return {
    act(random) {
      round++;
      const eta = rate(round);
      probabilities = Float64Array.from(regularizer.minimize(total.map((l) => eta * l)));
      return sampleAction(probabilities, random);
    },
    observe({ arm, loss }) {
      total[arm]! += loss / probabilities[arm]!;
    },
  };
}

/**
 * Plays a learner and returns its pseudo-regret by round, `[rounds]`: mean losses of the arms played minus those of the
 * arm that is best up to the last round.
 */
export function banditRegret(
  environment: BanditEnvironment,
  learner: OnlineLearner<number, BanditFeedback>,
  { rounds, random }: { readonly rounds: number; readonly random: RandomStream },
): Float64Array {
  const fixed = new Float64Array(environment.arms);
  const played = new Int32Array(rounds);
  for (let t = 0; t < rounds; t++) {
    const arm = learner.act(random);
    learner.observe({ arm, loss: environment.losses(t, random)[arm]! });
    played[t] = arm;
    environment.means(t).forEach((m, a) => {
      fixed[a]! += m;
    });
  }
  const best = fixed.indexOf(fixed.reduce((a, b) => Math.min(a, b)));
  let regret = 0;
  return Float64Array.from(played, (arm, t) => {
    const means = environment.means(t);
    regret += means[arm]! - means[best]!;
    return regret;
  });
}
