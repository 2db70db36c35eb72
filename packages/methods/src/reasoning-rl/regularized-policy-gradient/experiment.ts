import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { beginner } from "../sortingWorld.ts";
import { auditGradients, PENALTY_NAMES } from "./audit.ts";
import { BANDIT, type BanditArm, playBandit, RPG_METHODS } from "./bandit.ts";
import { learnToSort, SORTING, type SortingArm } from "./sorting.ts";

type Arm = BanditArm | SortingArm | "audit";

interface Settings {
  /** Random policies of a unit of the audit. */
  readonly draws: number;
  readonly banditRounds: number;
  readonly sortingRounds: number;
}

/** Every unit has these; what a unit doesn't measure is 0 or empty. */
type Metrics = {
  /** What is tuned: the bandit's exact objective, or the pass rate. */
  readonly score: number;
  readonly objective: number;
  readonly regret: number;
  readonly objectiveCurve: readonly number[];
  readonly passRate: number;
  readonly entropy: number;
  readonly rpgError: number;
  readonly styleDifference: number;
  readonly k1Norm: number;
  readonly penaltyErrors: readonly (readonly number[])[];
};

const NOTHING: Metrics = {
  score: 0,
  objective: 0,
  regret: 0,
  objectiveCurve: [],
  passRate: 0,
  entropy: 0,
  rpgError: 0,
  styleDifference: 0,
  k1Norm: 0,
  penaltyErrors: [],
};

const isBandit = (arm: Arm): arm is BanditArm => Object.hasOwn(BANDIT, arm);

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  if (arm === "audit") return { ...NOTHING, ...(await auditGradients(seed, settings.draws)) };
  const { learningRate, beta = 0 } = hyperparameters as {
    readonly learningRate: number;
    readonly beta?: number;
  };
  if (isBandit(arm)) {
    yield { step: 0, of: 1 };
    const { method } = BANDIT[arm].fixed;
    const result = await playBandit({ method, beta, learningRate, rounds: settings.banditRounds, seed });
    const { objective, regret, curve } = result;
    return { ...NOTHING, score: objective, objective, regret, objectiveCurve: curve };
  }
  const training = learnToSort(arm, {
    learningRate,
    beta,
    rounds: settings.sortingRounds,
    seed,
    stream: phase === "tune" ? "validation" : "test",
  });
  let turn = await training.next();
  for (; !turn.done; turn = await training.next()) yield turn.value;
  const { passRate, entropy } = turn.value;
  return { ...NOTHING, score: passRate, passRate, entropy };
}

const beatsInPassRate = (worse: SortingArm) =>
  ({
    kind: "comparison",
    id: `sorting-not-below-${worse.slice(7).toLowerCase()}`,
    of: "matches-or-beats-baselines",
    modes: ["full"],
    statement: `A small transformer learning to sort, off-policy: RPG's pass rate is not more than .02 below that of ${SORTING[worse].label}`,
    metric: "passRate",
    better: "sortingRpg",
    worse,
    goal: "maximize",
    margin: -0.02,
  }) as const;

const beatsGrpo = (
  method: "urklReinforce" | "urklDifferentiable" | "urklClipped",
  strength: "Weak" | "Strong",
) =>
  ({
    kind: "comparison",
    id: `bandit-${method === "urklReinforce" ? "reinforce" : method === "urklClipped" ? "clipped" : "differentiable"}-beats-grpo-${strength.toLowerCase()}`,
    of: "matches-or-beats-baselines",
    modes: ["full"],
    statement: `Bandit, β = ${strength === "Weak" ? 0.1 : 1}: ${BANDIT[`${method}${strength}`].label.replace(/, β.*/, "")}, reaches a higher exact objective E[R] − β KL than GRPO (paired, p ≤ .05)`,
    metric: "objective",
    better: `${method}${strength}`,
    worse: `grpo${strength}`,
    goal: "maximize",
  }) as const;

const matchesRewardK1 = (strength: "Weak" | "Strong") =>
  ({
    kind: "comparison",
    id: `bandit-matches-reward-k1-${strength.toLowerCase()}`,
    of: "matches-or-beats-baselines",
    modes: ["full"],
    statement: `Bandit, β = ${strength === "Weak" ? 0.1 : 1}: clipped RPG's objective is not more than 2% below that of REINFORCE++`,
    metric: "objective",
    better: `urklClipped${strength}`,
    worse: `rewardK1${strength}`,
    goal: "maximize",
    relative: true,
    margin: -0.02,
  }) as const;

const RPG_ARMS = RPG_METHODS.flatMap((method) => [`${method}Weak`, `${method}Strong`] as const);

export default defineExperiment({
  settings: {
    full: { draws: 10, banditRounds: 60, sortingRounds: 60 },
    quick: { draws: 1, banditRounds: 10, sortingRounds: 5 },
  },
  seeds: { full: 8, quick: 1 },
  checkpoints: [beginner],
  arms: { audit: { label: "Gradients by enumeration" }, ...BANDIT, ...SORTING },
  run,
  tuning: { metric: "score", goal: "maximize", budget: { full: 6, quick: 1 }, seeds: { full: 1, quick: 1 } },
  claims: [
    {
      kind: "deterministic",
      id: "rpg-gradients-exact",
      of: "losses-have-right-gradients",
      statement:
        "All RPG losses (four divergences, two styles, off-policy) have the gradients of their objectives: relative error at most 1e-8 for 100 random policies",
      arm: "audit",
      metric: "rpgError",
      expected: 0,
      tolerance: 1e-8,
    },
    {
      kind: "statistic",
      id: "grpo-term-is-no-gradient",
      of: "losses-have-right-gradients",
      statement:
        "GRPO's off-policy k3 term is off by at least 10% from the gradient of the reverse and of the forward KL (median over policies, every seed)",
      quantity: "smaller of the two relative errors",
      arms: ["audit"],
      perSeed: ({ audit }) =>
        Math.min(...audit.penaltyErrors[PENALTY_NAMES.indexOf("k3 off-policy (GRPO)")]!),
      pass: { min: 0.1 },
      seedsHolding: 1,
    },
    {
      kind: "statistic",
      id: "weighted-k3-is-reverse",
      of: "losses-have-right-gradients",
      statement: "Multiplied by w, k3 has the gradient of the reverse KL: relative error at most 1e-8",
      quantity: "relative error",
      arms: ["audit"],
      perSeed: ({ audit }) => audit.penaltyErrors[PENALTY_NAMES.indexOf("w · k3")]![1]!,
      pass: { max: 1e-8 },
      seedsHolding: 1,
    },
    {
      kind: "deterministic",
      id: "k1-loss-useless",
      of: "losses-have-right-gradients",
      statement: "k1 as an on-policy loss has an expected gradient of 0, to 1e-12",
      arm: "audit",
      metric: "k1Norm",
      expected: 0,
      tolerance: 1e-12,
    },
    {
      kind: "deterministic",
      id: "styles-agree",
      of: "styles-equivalent",
      statement: "The two styles have the same expected gradient, to a relative difference of 1e-8",
      arm: "audit",
      metric: "styleDifference",
      expected: 0,
      tolerance: 1e-8,
    },
    beatsGrpo("urklReinforce", "Weak"),
    beatsGrpo("urklReinforce", "Strong"),
    beatsGrpo("urklDifferentiable", "Weak"),
    beatsGrpo("urklDifferentiable", "Strong"),
    beatsGrpo("urklClipped", "Weak"),
    beatsGrpo("urklClipped", "Strong"),
    matchesRewardK1("Weak"),
    matchesRewardK1("Strong"),
    {
      kind: "statistic",
      id: "bandit-stable",
      of: "matches-or-beats-baselines",
      statement: "Bandit: no tuned RPG run ends below where it started, on any seed and for any β",
      quantity: "smallest improvement of the objective",
      arms: RPG_ARMS,
      perSeed: (seed) => Math.min(...RPG_ARMS.map((arm) => seed[arm].objectiveCurve.at(-1)!)),
      pass: { min: 0 },
      seedsHolding: 1,
    },
    beatsInPassRate("sortingGrpo"),
    beatsInPassRate("sortingDapo"),
    beatsInPassRate("sortingReinforce"),
  ],
  figure: ({ Plot, units, arms }) => {
    const audits = units.filter(({ arm }) => arm === "audit").map(({ metrics }) => metrics);
    const cells = [
      ...PENALTY_NAMES.flatMap((loss, i) =>
        ["forward KL", "reverse KL"].map((objective, j) => ({
          loss,
          objective,
          error: mean(audits.map((m) => m.penaltyErrors[i]?.[j] ?? 0)),
        })),
      ),
      ...["forward", "reverse"].map((direction) => ({
        loss: `RPG, ${direction} forms`,
        objective: `${direction} KL`,
        error: mean(audits.map((m) => m.rpgError)),
      })),
    ].map((cell) => ({ ...cell, verdict: cell.error < 1e-8 ? "exact" : cell.error.toFixed(2) }));
    const regrets = units
      .filter(({ arm }) => isBandit(arm))
      .map(({ arm, metrics }) => {
        const label = arms.find(({ name }) => name === arm)!.label;
        return {
          method: label.replace(/, β.*/, ""),
          beta: label.replace(/.*, β/, "β"),
          regret: metrics.regret,
        };
      });
    const rates = units
      .filter(({ arm }) => Object.hasOwn(SORTING, arm))
      .map(({ arm, metrics }) => ({
        method: arms.find(({ name }) => name === arm)!.label,
        rate: metrics.passRate,
      }));
    return [
      {
        title: "Relative error of a loss's gradient",
        options: {
          marginLeft: 150,
          x: { label: null },
          y: { label: null, domain: [...PENALTY_NAMES, "RPG, forward forms", "RPG, reverse forms"] },
          color: {
            type: "categorical",
            domain: ["exact", "wrong"],
            range: ["#7fbf7b", "#e6e6e6"],
            legend: true,
          },
          marks: [
            Plot.cell(cells, {
              x: "objective",
              y: "loss",
              fill: (c: { error: number }) => (c.error < 1e-8 ? "exact" : "wrong"),
            }),
            Plot.text(cells, { x: "objective", y: "loss", text: "verdict" }),
          ],
        },
      },
      {
        title: "Bandit: regret of E[R] − β KL",
        options: {
          marginLeft: 270,
          x: { label: "Regret", grid: true },
          y: { label: null },
          color: { legend: true },
          marks: [
            Plot.dot(regrets, { x: "regret", y: "method", stroke: "beta", strokeOpacity: 0.4 }),
            Plot.tickX(
              regrets,
              Plot.groupY(
                { x: "mean" },
                { x: "regret", y: "method", stroke: "beta", z: "beta", strokeWidth: 2 },
              ),
            ),
          ],
        },
      },
      {
        title: "A small transformer learns to sort",
        options: {
          marginLeft: 90,
          x: { label: "Pass rate", grid: true },
          y: { label: null },
          marks: [
            Plot.dot(rates, { x: "rate", y: "method", strokeOpacity: 0.5 }),
            Plot.tickX(rates, Plot.groupY({ x: "mean" }, { x: "rate", y: "method", stroke: "red" })),
          ],
        },
      },
    ];
  },
});
