import { type Claim, defineExperiment } from "@prior-art/toolkit/experiment";
import { logLogSlope } from "@prior-art/toolkit/stats";
import type { Norm } from "./problems.ts";
import { type Arm, arms, CASES, type Metrics, run, settings } from "./units.ts";

type Claims = Claim<Arm, Metrics>;
const NAMES: Readonly<Record<Norm, string>> = { l2: "Euclidean", linf: "ℓ∞", spectral: "spectral" };
const ONE = "one-algorithm-one-bound";
const ORDER = "momentum-before-orthogonalization";
const DECAY = "decay-gives-function-values";
const FASTER = "extrapolation-speeds-up";

/** Problems whose Hessian is Lipschitz but not constant. */
const CURVED = [
  {
    id: "logistic",
    name: "Logistic regression",
    plain: "logisticPlain",
    plainFast: "logisticPlainFast",
    extrapolated: "logisticExtrapolated",
  },
  {
    id: "network",
    name: "Tanh network",
    plain: "networkPlain",
    plainFast: "networkPlainFast",
    extrapolated: "networkExtrapolated",
  },
] as const;

const powerOf = (left: readonly number[]): number => logLogSlope(settings.full.curvedCounts, left).slope;

const rateClaims: readonly Claims[] = CASES.map(({ norm, noise, metric }) => ({
  kind: "scaling",
  id: `rate-${norm}${noise ? "-noisy" : ""}`,
  of: ONE,
  statement: `${NAMES[norm]} norm, ${noise ? "noise: the least dual norm falls as K to a power from -0.45 to -0.15" : "no noise: the least dual norm falls as K to a power from -0.75 to -0.4"}`,
  arm: "rates",
  x: settings.full.counts,
  y: metric,
  slope: noise ? { min: -0.45, max: -0.15 } : { min: -0.75, max: -0.4 },
  modes: ["full"],
}));

export default defineExperiment({
  settings,
  seeds: { full: 8, quick: 2 },
  arms,
  run,
  tuning: { metric: "score", goal: "minimize", budget: { full: 20, quick: 1 }, seeds: { full: 2, quick: 1 } },
  claims: [
    {
      kind: "statistic",
      id: "bound-holds",
      of: ONE,
      statement:
        "In all three norms, with and without noise and for every K, the mean of the least dual norms is within the bound",
      quantity: "largest share of the bound",
      arms: ["rates"],
      acrossSeeds: (seeds) =>
        Math.max(
          ...CASES.flatMap(({ metric }, i) =>
            seeds[0]!.rates[metric].map(
              (_, k) =>
                seeds.reduce((total, { rates: r }) => total + r[metric][k]! / r.bounds[i]![k]!, 0) /
                seeds.length,
            ),
          ),
        ),
      pass: { max: 1 },
    },
    ...rateClaims,
    {
      kind: "statistic",
      id: "floor-ratio",
      of: ORDER,
      statement:
        "Lopsided noise: at the largest K, orthogonalizing first leaves at least five times Muon's dual norm",
      quantity: "ratio of dual norms",
      modes: ["full"],
      arms: ["bias"],
      perSeed: ({ bias: { muonFloor, orthogonalFloor } }) => orthogonalFloor.at(-1)! / muonFloor.at(-1)!,
      pass: { min: 5 },
    },
    {
      kind: "scaling",
      id: "orthogonal-first-stalls",
      of: ORDER,
      statement: "Lopsided noise: what orthogonalizing first leaves does not fall with K (power above -0.05)",
      arm: "bias",
      x: settings.full.counts,
      y: "orthogonalFloor",
      slope: { min: -0.05 },
      modes: ["full"],
    },
    {
      kind: "scaling",
      id: "muon-converges",
      of: ORDER,
      statement: "Lopsided noise: what Muon leaves falls with K (power below -0.1)",
      arm: "bias",
      x: settings.full.counts,
      y: "muonFloor",
      slope: { max: -0.1 },
      modes: ["full"],
    },
    {
      kind: "comparison",
      id: "digits",
      of: ORDER,
      statement: "Digits: Muon's test log loss is below that of orthogonalizing first (paired, p ≤ .05)",
      metric: "score",
      better: "digitsMuon",
      worse: "digitsOrthogonal",
      goal: "minimize",
    },
    ...[
      { id: "decay-halves-the-gap", arm: "decay" as const, ball: "1.5 times" },
      { id: "wide-decay-halves-the-gap", arm: "decayWide" as const, ball: "6 times" },
    ].map(
      ({ id, arm, ball }): Claims => ({
        kind: "statistic",
        id,
        of: DECAY,
        statement: `Logistic regression, radius and momentum tuned alike: the gap of function values with decay to a ball of ${ball} the minimizer's size is at most half of that without`,
        quantity: "gap with decay over gap without",
        arms: ["noDecay", arm],
        perSeed: (of) => of[arm].score / of.noDecay.score,
        pass: { max: 0.5 },
      }),
    ),
    {
      kind: "scaling",
      id: "decay-converges",
      of: DECAY,
      statement:
        "Logistic regression, decay tuned by theory: the gap of function values falls as K to a power of -1/3 or less",
      arm: "decayTheory",
      x: settings.full.logisticCounts,
      y: "gaps",
      slope: { max: -1 / 3 },
      modes: ["full"],
    },
    {
      kind: "comparison",
      id: "decay-below-none",
      of: DECAY,
      statement:
        "The same radii, momenta and batches: at the largest K, the gap with decay is below that without (paired, p ≤ .05)",
      metric: "score",
      better: "decayTheory",
      worse: "noDecayTheory",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "extrapolation",
      of: FASTER,
      statement:
        "Noisy least squares, whose Hessian is constant: gradients at extrapolated points leave a smaller dual norm (paired, p ≤ .05)",
      metric: "score",
      better: "extrapolated",
      worse: "plain",
      goal: "minimize",
    },
    ...CURVED.flatMap(({ id, name, plain, plainFast, extrapolated }) =>
      [
        { rival: plain, suffix: "", powers: "each with its theory's powers of K" },
        { rival: plainFast, suffix: "-same-powers", powers: "both with the powers of K of extrapolation" },
      ].flatMap(({ rival, suffix, powers }): Claims[] => [
        {
          kind: "comparison",
          id: `extrapolation-${id}${suffix}`,
          of: FASTER,
          statement: `${name}, tuned alike, ${powers}: gradients at extrapolated points leave a smaller dual norm, in the geometric mean over K (paired, p ≤ .05)`,
          metric: "score",
          better: extrapolated,
          worse: rival,
          goal: "minimize",
        },
        {
          kind: "statistic",
          id: `extrapolation-rate-${id}${suffix}`,
          of: FASTER,
          statement: `${name}, tuned alike, ${powers}: with extrapolation the dual norm falls faster with K (difference of powers below 0)`,
          quantity: "power of K with extrapolation less the power without",
          modes: ["full"],
          arms: [rival, extrapolated],
          perSeed: (of) => powerOf(of[extrapolated].left) - powerOf(of[rival].left),
          pass: { max: 0 },
        },
      ]),
    ),
  ],
  figure: ({ Plot, units, mode }) => {
    const { counts, logisticCounts, curvedCounts } = settings[mode];
    const meanOf = (arm: Arm, of: (m: Metrics) => readonly number[]): number[] => {
      const rows = units.filter((unit) => unit.arm === arm).map(({ metrics }) => of(metrics));
      return (rows[0] ?? []).map((_, i) => rows.reduce((total, row) => total + row[i]!, 0) / rows.length);
    };
    const line = (name: string, values: readonly number[], steps = counts) =>
      values.map((value, i) => ({ name, steps: steps[i]!, value }));
    const plotOf = (
      title: string,
      lines: ReturnType<typeof line>,
      { dashed = [] as ReturnType<typeof line>, label = "dual norm of the gradient" } = {},
    ) => ({
      title,
      options: {
        width: 560,
        height: 340,
        marginLeft: 60,
        color: { legend: true },
        x: { label: "steps K", type: "log" as const },
        y: { label, type: "log" as const, grid: true },
        marks: [
          Plot.line(dashed, { x: "steps", y: "value", stroke: "name", strokeDasharray: "4 4" }),
          Plot.line(lines, { x: "steps", y: "value", stroke: "name" }),
          Plot.dot(lines, { x: "steps", y: "value", stroke: "name" }),
        ],
      },
    });
    const muonFloor = meanOf("bias", (m) => m.muonFloor);
    const orthogonalFloor = meanOf("bias", (m) => m.orthogonalFloor);
    const noisy = CASES.filter(({ noise }) => noise > 0);
    const boundOf = (metric: string) => (m: Metrics) =>
      m.bounds[CASES.findIndex((c) => c.metric === metric)]!;
    const rates = (of: (metric: (typeof noisy)[number]["metric"]) => (m: Metrics) => readonly number[]) =>
      noisy.flatMap(({ norm, metric }) => line(NAMES[norm], meanOf("rates", of(metric))));
    const gapsOf = (name: string, arm: Arm) =>
      line(
        name,
        meanOf(arm, (m) => m.gaps),
        logisticCounts,
      );
    const leftOf = (name: string, arm: Arm) =>
      line(
        name,
        meanOf(arm, (m) => m.left),
        curvedCounts,
      );
    return [
      plotOf("Lopsided noise: what is left of the gradient", [
        ...line("momentum, then orthogonalize (Muon)", muonFloor),
        ...line("orthogonalize, then momentum", orthogonalFloor),
      ]),
      plotOf(
        "Noisy least squares tuned by theory: least gradient, and its bound (dashed)",
        rates((metric) => (m) => m[metric]),
        { dashed: rates(boundOf) },
      ),
      plotOf(
        "Logistic regression, radii and momenta of the theory of decay",
        [...gapsOf("with decay", "decayTheory"), ...gapsOf("without decay", "noDecayTheory")],
        { label: "gap of function values" },
      ),
      plotOf(
        "What is left of the gradient where the Hessian varies",
        CURVED.flatMap(({ name, plain, plainFast, extrapolated }) => [
          ...leftOf(name, plain),
          ...leftOf(`${name}, powers of extrapolation`, plainFast),
          ...leftOf(`${name}, extrapolated`, extrapolated),
        ]),
      ),
    ];
  },
});
