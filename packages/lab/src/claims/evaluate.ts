import type {
  AnyExperiment,
  Claim,
  ComparisonClaim,
  DeterministicClaim,
  Metrics,
  MetricValue,
  Mode,
  ScalingClaim,
  StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { bootstrapInterval, logLogSlope, mean, signFlipTest } from "@prior-art/toolkit/stats";
import type { UnitResult } from "../units.ts";
import { type ClaimResult, describeRegion, inside, regionVerdict, short, type Verdict } from "./verdict.ts";

type AnyClaim = Claim<string, Metrics>;
type Outcome = Pick<ClaimResult, "verdict" | "quantity" | "effect" | "interval" | "perSeed" | "reason"> & {
  readonly pValue?: number;
};

/** The seeds in which every arm that a claim reads finished. */
interface Evidence {
  readonly seeds: readonly number[];
  readonly metrics: readonly Readonly<Record<string, Metrics>>[];
  readonly diverged: readonly { readonly arm: string; readonly seed: number }[];
}

/**
 * Judges every claim of the mode on the test units.
 *
 * Seeds with a diverged unit are left out by name, and then no claim counts as fully reproduced.
 *
 * @throws TypeError when a claim reads a metric that the units do not have in the needed form.
 */
export function evaluateClaims(
  experiment: AnyExperiment,
  mode: Mode,
  testUnits: readonly UnitResult[],
): ClaimResult[] {
  const claims = experiment.claims as readonly AnyClaim[];
  return claims
    .filter((claim) => claim.modes?.includes(mode) ?? true)
    .map((claim) => {
      const evidence = collect(claimArms(claim, experiment), testUnits);
      return {
        id: claim.id,
        of: claim.of ?? claim.id,
        kind: claim.kind,
        statement: claim.statement,
        diverged: evidence.diverged,
        ...withDivergence(claim, evidence),
      };
    });
}

function withDivergence(claim: AnyClaim, evidence: Evidence): Outcome {
  if (evidence.seeds.length === 0) {
    return {
      verdict: "not reproduced",
      quantity: "no finished seed",
      effect: Number.NaN,
      interval: { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY },
      perSeed: [],
      reason: "every seed diverged",
    };
  }
  const outcome = judgeByName(claim, evidence);
  if (evidence.diverged.length === 0) return outcome;
  const verdict: Verdict = outcome.verdict === "reproduced" ? "partly" : outcome.verdict;
  return {
    ...outcome,
    verdict,
    reason: `${outcome.reason}; ${evidence.diverged.length} diverged and left out`,
  };
}

function judgeByName(claim: AnyClaim, evidence: Evidence): Outcome {
  try {
    return judge(claim, evidence);
  } catch (cause) {
    throw new TypeError(`claim "${claim.id}": ${(cause as Error).message}`, { cause });
  }
}

function judge(claim: AnyClaim, evidence: Evidence): Outcome {
  switch (claim.kind) {
    case "comparison":
      return compare(claim, evidence);
    case "scaling":
      return scale(claim, evidence);
    case "deterministic":
      return match(claim, evidence);
    case "statistic":
      return measure(claim, evidence);
  }
}

function compare(claim: ComparisonClaim<string, string>, { seeds, metrics }: Evidence): Outcome {
  const { margin = 0, alpha = 0.05 } = claim;
  const sign = claim.goal === "minimize" ? 1 : -1;
  const differences = metrics.map((arms) => {
    const better = scalar(arms[claim.better]!, claim.metric);
    const worse = scalar(arms[claim.worse]!, claim.metric);
    return (sign * (worse - better)) / (claim.relative ? Math.abs(worse) : 1);
  });
  const effect = mean(differences);
  const interval = bootstrapInterval(differences);
  const { pValue } = signFlipTest(
    differences.map((difference) => difference - margin),
    { alternative: "greater" },
  );
  const quantity = `${claim.better} ${claim.goal === "minimize" ? "below" : "above"} ${claim.worse} in ${claim.metric}${
    claim.relative ? " (relative)" : ""
  }`;
  const base = { quantity, effect, interval, pValue, perSeed: pairs(seeds, differences) };
  const target = margin === 0 ? "zero" : `the margin ${short(margin)}`;
  if (interval.low > margin && pValue <= alpha) {
    return {
      ...base,
      verdict: "reproduced",
      reason: `the interval lies above ${target}, p = ${short(pValue)}`,
    };
  }
  const smallest = 2 ** -seeds.length;
  if (effect > margin) {
    const why =
      smallest > alpha
        ? `${seeds.length} seeds cannot reach p ≤ ${alpha} (smallest possible ${short(smallest)})`
        : `not significant, p = ${short(pValue)}`;
    return { ...base, verdict: "partly", reason: `in the claimed direction, but ${why}` };
  }
  const reason =
    effect > 0 ? `in the claimed direction, but not by ${target}` : "no difference in the claimed direction";
  return { ...base, verdict: "not reproduced", reason };
}

function scale(claim: ScalingClaim<string, string>, { seeds, metrics }: Evidence): Outcome {
  const curves = metrics.map((arms) => ({
    x: typeof claim.x === "string" ? flat(arms[claim.arm]!, claim.x) : claim.x,
    y: flat(arms[claim.arm]!, claim.y),
  }));
  const fits = curves.map(({ x, y }) => logLogSlope(x, y));
  const slopes = fits.map((fit) => fit.slope);
  const ofMeanCurve = (sample: typeof curves) =>
    logLogSlope(meanCurve(sample.map((c) => c.x)), meanCurve(sample.map((c) => c.y))).slope;
  const pooled = claim.pool === "mean";
  const effect = pooled ? ofMeanCurve(curves) : mean(slopes);
  const interval =
    seeds.length === 1
      ? fits[0]!.interval
      : pooled
        ? bootstrapInterval(curves, { statistic: (sample) => ofMeanCurve([...sample]), resamples: 2000 })
        : bootstrapInterval(slopes);
  const quantity = `log–log slope of ${claim.y} (${claim.arm})`;
  return {
    quantity,
    effect,
    interval,
    perSeed: pairs(seeds, slopes),
    ...regionVerdict(effect, interval, claim.slope),
  };
}

function match(claim: DeterministicClaim<string, string>, { seeds, metrics }: Evidence): Outcome {
  const errors = metrics.map((arms) => {
    const values = flat(arms[claim.arm]!, claim.metric);
    const { expected } = claim;
    if (typeof expected !== "number" && expected.length !== values.length) {
      throw new TypeError(`${values.length} values, ${expected.length} expected`);
    }
    return values.reduce((worst, value, i) => {
      const error = Math.abs(value - (typeof expected === "number" ? expected : expected[i]!));
      return Number.isNaN(error) ? Number.NaN : Math.max(worst, error);
    }, 0);
  });
  const effect = errors.some(Number.isNaN) ? Number.NaN : Math.max(...errors);
  const holds = effect <= claim.tolerance;
  return {
    quantity: `largest error of ${claim.metric} (${claim.arm})`,
    effect,
    interval: { low: Math.min(...errors), high: effect },
    perSeed: pairs(seeds, errors),
    verdict: holds ? "reproduced" : "not reproduced",
    reason: `${holds ? "within" : "outside"} the tolerance ${short(claim.tolerance)}`,
  };
}

function measure(claim: StatisticClaim<string, Metrics>, { seeds, metrics, diverged }: Evidence): Outcome {
  const quantity = claim.quantity ?? claim.id;
  if ("acrossSeeds" in claim) {
    const effect = claim.acrossSeeds(metrics);
    const interval = bootstrapInterval(metrics, { statistic: claim.acrossSeeds, resamples: 2000 });
    return { quantity, effect, interval, perSeed: [], ...regionVerdict(effect, interval, claim.pass) };
  }
  const values = metrics.map((arms, i) => {
    const value = claim.perSeed(arms);
    if (typeof value === "number" && !Number.isNaN(value)) return value;
    throw new TypeError(`perSeed gave ${value} on seed ${seeds[i]}`);
  });
  const effect = mean(values);
  const interval = bootstrapInterval(values);
  const base = { quantity, effect, interval, perSeed: pairs(seeds, values) };
  if (claim.seedsHolding === undefined) return { ...base, ...regionVerdict(effect, interval, claim.pass) };
  const all = seeds.length + new Set(diverged.map(({ seed }) => seed)).size;
  const holding = values.filter((value) => inside(value, claim.pass)).length;
  const reason = `${holding} of ${all} seeds are ${describeRegion(claim.pass)}, ${short(claim.seedsHolding * 100)}% wanted`;
  if (holding >= claim.seedsHolding * all) return { ...base, verdict: "reproduced", reason };
  return { ...base, verdict: inside(effect, claim.pass) ? "partly" : "not reproduced", reason };
}

function claimArms(claim: AnyClaim, experiment: AnyExperiment): readonly string[] {
  if (claim.kind === "comparison") return [claim.better, claim.worse];
  if (claim.kind === "statistic") return claim.arms ?? Object.keys(experiment.arms);
  return [claim.arm];
}

function collect(arms: readonly string[], units: readonly UnitResult[]): Evidence {
  const read = units.filter((unit) => arms.includes(unit.arm));
  const diverged = read.filter((unit) => unit.status === "diverged").map(({ arm, seed }) => ({ arm, seed }));
  const lost = new Set(diverged.map(({ seed }) => seed));
  const seeds = [...new Set(read.map((unit) => unit.seed))]
    .filter((seed) => !lost.has(seed))
    .sort((a, b) => a - b);
  const metrics = seeds.map((seed) =>
    Object.fromEntries(read.filter((unit) => unit.seed === seed).map((unit) => [unit.arm, unit.metrics])),
  );
  return { seeds, metrics, diverged };
}

function pairs(seeds: readonly number[], values: readonly number[]) {
  return seeds.map((seed, i) => ({ seed, value: values[i]! }));
}

function scalar(metrics: Metrics, name: string): number {
  const value = metrics[name];
  if (typeof value !== "number") throw new TypeError(`metric "${name}" is not a number`);
  return value;
}

function flat(metrics: Metrics, name: string): number[] {
  const value = metrics[name];
  if (value === undefined) throw new TypeError(`there is no metric "${name}"`);
  const flatten = (entry: MetricValue): number[] =>
    typeof entry === "number" ? [entry] : entry.flatMap(flatten);
  return flatten(value);
}

function meanCurve(curves: readonly (readonly number[])[]): number[] {
  return curves[0]!.map((_, i) => mean(curves.map((curve) => curve[i]!)));
}
