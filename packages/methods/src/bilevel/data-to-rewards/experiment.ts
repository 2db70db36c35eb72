import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { regress } from "./curveTask.ts";
import { type Arm, fitGaussian, SIGMA } from "./gaussianTask.ts";
import { classify } from "./noisyLabels.ts";

interface Settings {
  readonly points: number;
  readonly steps: number;
  readonly outerSteps: number;
  /** Of the regression and the classifiers; 0 leaves them out. */
  readonly curveSteps: number;
  readonly classifierSteps: number;
}

/** Scalars are 0 where an arm has no part; no claim reads them there. */
type Metrics = {
  /** Two-dimensional Gaussian: held-out negative log-likelihood, Frobenius error of the covariance over its size, trace over the data's. */
  readonly loss: number;
  readonly covarianceError: number;
  readonly trace: number;
  /** Σ, row after row. */
  readonly covariance: readonly number[];
  /** ‖U − U*‖/‖U*‖ with the true Σ, at the end and along the way. */
  readonly rewardError: number;
  readonly rewardErrors: readonly number[];
  /** The same at the end with the sample's covariance, for which U* is the outer optimum of these data. */
  readonly sampleRewardError: number;
  /** Regression: held-out negative log-likelihood, and the learning rate chosen. */
  readonly regressionLoss: number;
  readonly regressionRate: number;
  /** Classification with a fifth of the labels wrong: mean over three data sets, and each. */
  readonly accuracy: number;
  readonly accuracies: readonly number[];
  /** Learning rate chosen on each of the three. */
  readonly rates: readonly number[];
};

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const gaussian = await fitGaussian(arm, seed, settings);
  yield { step: 1, of: 3 };
  const regression =
    settings.curveSteps > 0 ? await regress(arm, seed, settings.curveSteps) : { loss: 0, rate: 0 };
  yield { step: 2, of: 3 };
  const { accuracies, rates } =
    settings.classifierSteps > 0
      ? await classify(arm, seed, settings.classifierSteps)
      : { accuracies: [], rates: [] };
  return {
    ...gaussian,
    regressionLoss: regression.loss,
    regressionRate: regression.rate,
    accuracy: accuracies.length > 0 ? mean(accuracies) : 0,
    accuracies,
    rates,
  };
}

const notBelow = (better: Arm, what: string): ComparisonClaim<Arm, keyof Metrics & string> => ({
  kind: "comparison",
  id: `accuracy-${better}`,
  of: "matches-likelihood-training",
  statement: `Classifiers on three data sets with a fifth of the labels wrong: policy gradient on one-hot vectors with ${what} is at most 1.5 points less accurate than likelihood training`,
  metric: "accuracy",
  better,
  worse: "likelihood",
  goal: "maximize",
  margin: -0.015,
  modes: ["full"],
});

export default defineExperiment({
  settings: {
    full: { points: 1000, steps: 1500, outerSteps: 200, curveSteps: 2000, classifierSteps: 800 },
    quick: { points: 300, steps: 500, outerSteps: 150, curveSteps: 0, classifierSteps: 0 },
  },
  seeds: { full: 6, quick: 1 },
  arms: {
    likelihood: { label: "likelihood" },
    identity: { label: "policy gradient, U = I" },
    isotropic: { label: "policy gradient, U = u*I" },
    optimal: { label: "policy gradient, U*" },
    heuristic: { label: "bilevel, heuristic" },
    implicit: { label: "bilevel, implicit" },
    smoothing: { label: "likelihood, smoothed labels" },
  },
  run,
  claims: [
    {
      kind: "statistic",
      id: "optimal-loss",
      of: "optimal-reward-recovers-mle",
      statement:
        "Gaussian data: the policy gradient with U* is within 0.02 nats of the maximum-likelihood fit on held-out data",
      quantity: "difference of negative log-likelihoods",
      arms: ["optimal", "likelihood"],
      perSeed: ({ optimal, likelihood }) => optimal.loss - likelihood.loss,
      pass: { max: 0.02 },
    },
    {
      kind: "statistic",
      id: "identity-loss",
      of: "optimal-reward-recovers-mle",
      statement: "with U = I it is more than 0.3 nats worse",
      quantity: "difference of negative log-likelihoods",
      arms: ["identity", "likelihood"],
      perSeed: ({ identity, likelihood }) => identity.loss - likelihood.loss,
      pass: { min: 0.3 },
    },
    {
      kind: "statistic",
      id: "isotropic-trace",
      of: "optimal-reward-recovers-mle",
      statement: "and with the best multiple of I its covariance has the data's trace within 5%",
      quantity: "trace of the policy's covariance over the data's",
      arms: ["isotropic"],
      perSeed: ({ isotropic }) => isotropic.trace,
      pass: { min: 0.95, max: 1.05 },
    },
    {
      kind: "statistic",
      id: "identity-trace",
      of: "optimal-reward-recovers-mle",
      statement:
        "With U = I the covariance is (λ/2)I = 0.05 I whatever the data, within 5% of its trace of 0.1",
      quantity: "trace of the policy's covariance",
      arms: ["identity"],
      perSeed: ({ identity }) => identity.covariance[0]! + identity.covariance[3]!,
      pass: { min: 0.095, max: 0.105 },
    },
    ...(["implicit", "heuristic"] as const).map((arm) => ({
      kind: "statistic" as const,
      id: `reward-${arm}`,
      of: "solvers-find-optimum",
      statement: `The ${arm} solver's U, found from 1,000 draws, is within 10% of (λ/2)Σ⁻¹ with the Σ that they are drawn from`,
      quantity: "‖U − U*‖/‖U*‖",
      arms: [arm],
      perSeed: (seed: Readonly<Record<Arm, Metrics>>) => seed[arm].rewardError,
      pass: { max: 0.1 },
      modes: ["full" as const],
    })),
    {
      kind: "statistic",
      id: "convergence-implicit",
      of: "solvers-find-optimum",
      statement:
        "and the implicit solver's is within 10% of that with the draws' own covariance, the outer optimum of these data",
      quantity: "‖U − U*‖/‖U*‖",
      arms: ["implicit"],
      perSeed: ({ implicit }) => implicit.sampleRewardError,
      pass: { max: 0.1 },
    },
    {
      kind: "statistic",
      id: "curve-optimal",
      of: "optimal-reward-recovers-mle",
      statement:
        "Regression by a network with correlated noise: with U* of the noise's true covariance, which likelihood training is not told, it is within 0.05 nats of that",
      quantity: "difference of negative log-likelihoods",
      arms: ["optimal", "likelihood"],
      perSeed: ({ optimal, likelihood }) => optimal.regressionLoss - likelihood.regressionLoss,
      pass: { max: 0.05 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "curve-heuristic",
      of: "optimal-reward-recovers-mle",
      statement: "and so it is with the heuristic's U, from the residuals of a fit to the same examples",
      quantity: "difference of negative log-likelihoods",
      arms: ["heuristic", "likelihood"],
      perSeed: ({ heuristic, likelihood }) => heuristic.regressionLoss - likelihood.regressionLoss,
      pass: { max: 0.05 },
      modes: ["full"],
    },
    ...(
      [
        ["optimal", "isotropic"],
        ["isotropic", "identity"],
      ] as const
    ).map(
      ([better, worse]): ComparisonClaim<Arm, keyof Metrics & string> => ({
        kind: "comparison",
        id: `curve-${better}-${worse}`,
        of: "optimal-reward-recovers-mle",
        statement: `The order is that of the Gaussian data: ${better} U before ${worse} U`,
        metric: "regressionLoss",
        better,
        worse,
        goal: "minimize",
        modes: ["full"],
      }),
    ),
    notBelow("identity", "U = ½I"),
    notBelow("heuristic", "a diagonal U from residuals"),
  ],
  figure: ({ Plot, units, arms }) => {
    const labelOf = (name: Arm): string => arms.find((arm) => arm.name === name)!.label;
    const first = units.filter((unit) => unit.seed === 0);
    /** Points at one deviation from the mean of a covariance. */
    const ellipse = ([a, b, , c]: readonly number[], label: string) =>
      Array.from({ length: 61 }, (_, i) => {
        const [x, y] = [Math.cos((i * Math.PI) / 30), Math.sin((i * Math.PI) / 30)];
        const root = Math.sqrt(a!);
        return { label, x: root * x, y: (b! / root) * x + Math.sqrt(Math.max(0, c! - b! ** 2 / a!)) * y };
      });
    const ellipses = [
      ...ellipse([SIGMA[0], SIGMA[1], SIGMA[1], SIGMA[2]], "data"),
      ...first
        .filter(({ metrics }) => metrics.covariance.length > 0)
        .flatMap(({ arm, metrics }) => ellipse(metrics.covariance, labelOf(arm))),
    ];
    const implicit = first.find(({ arm }) => arm === "implicit");
    const errors = (implicit?.metrics.rewardErrors ?? []).map((error, i) => ({ step: i + 1, error }));
    return [
      {
        title: "Covariances: data and policies, at one deviation",
        options: {
          width: 460,
          height: 380,
          aspectRatio: 1,
          grid: true,
          color: { legend: true },
          marks: [Plot.line(ellipses, { x: "x", y: "y", stroke: "label", strokeWidth: 2 })],
        },
      },
      {
        title: "Implicit solver: distance of U from (λ/2)Σ⁻¹",
        options: {
          width: 420,
          height: 320,
          x: { label: "outer step →" },
          y: { label: "‖U − U*‖/‖U*‖", type: "log" as const, grid: true },
          marks: [
            Plot.ruleY([0.1], { strokeDasharray: "3 3" }),
            Plot.line(errors, { x: "step", y: "error" }),
          ],
        },
      },
    ];
  },
});
