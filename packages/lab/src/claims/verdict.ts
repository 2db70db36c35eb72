import type { Region } from "@prior-art/toolkit/experiment";
import type { Interval } from "@prior-art/toolkit/stats";

export type Verdict = "reproduced" | "partly" | "not reproduced";

/** How one claim fared, with everything a reader needs to disagree. */
export interface ClaimResult {
  readonly id: string;
  /** Id of the claim in `paper.json`. */
  readonly of: string;
  readonly kind: "comparison" | "scaling" | "deterministic" | "statistic";
  readonly statement: string;
  readonly verdict: Verdict;
  /** What `effect` measures. */
  readonly quantity: string;
  readonly effect: number;
  /** 95% interval of the effect (the range over seeds for a deterministic claim). */
  readonly interval: Interval;
  readonly pValue?: number;
  readonly perSeed: readonly { readonly seed: number; readonly value: number }[];
  /** Units left out because they diverged. */
  readonly diverged: readonly { readonly arm: string; readonly seed: number }[];
  /** One sentence: why this verdict. */
  readonly reason: string;
}

/** All claims held; none held, not even partly; or something between. `null` without claims. */
export function overallVerdict(claims: readonly { readonly verdict: Verdict }[]): Verdict | null {
  if (claims.length === 0) return null;
  if (claims.every(({ verdict }) => verdict === "reproduced")) return "reproduced";
  if (claims.every(({ verdict }) => verdict === "not reproduced")) return "not reproduced";
  return "partly";
}

export function inside(value: number, region: Region): boolean {
  return (
    value >= (region.min ?? Number.NEGATIVE_INFINITY) && value <= (region.max ?? Number.POSITIVE_INFINITY)
  );
}

export function describeRegion({ min, max }: Region): string {
  if (min !== undefined && max !== undefined) return `[${short(min)}, ${short(max)}]`;
  if (min !== undefined) return `≥ ${short(min)}`;
  return max === undefined ? "any value" : `≤ ${short(max)}`;
}

/** The interval lies in the region, or only the estimate does, or neither. */
export function regionVerdict(
  effect: number,
  interval: Interval,
  region: Region,
): { verdict: Verdict; reason: string } {
  const wanted = describeRegion(region);
  if (inside(interval.low, region) && inside(interval.high, region)) {
    return { verdict: "reproduced", reason: `the whole interval is ${wanted}` };
  }
  if (inside(effect, region)) {
    return { verdict: "partly", reason: `the estimate is ${wanted}, but its interval reaches outside` };
  }
  return { verdict: "not reproduced", reason: `the estimate is not ${wanted}` };
}

/** A number for reading, with a power of ten below 1e-4: 0.0123, 1.23e-6. */
export function short(value: number, digits = 3): string {
  const rounded = Number(value.toPrecision(digits));
  const isSmall = rounded !== 0 && Math.abs(rounded) < 1e-4;
  return isSmall ? rounded.toExponential() : String(rounded);
}
