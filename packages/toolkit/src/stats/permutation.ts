import { mean } from "simple-statistics";
import { randomStream } from "./random.ts";
import { requireSample } from "./summary.ts";

export type Alternative = "greater" | "less" | "two-sided";

export interface PermutationOptions {
  /** Default `two-sided`. */
  readonly alternative?: Alternative;
  /** Enumerate when there are no more arrangements than this (default 2²⁰), else draw at random. */
  readonly exactUpTo?: number;
  /** Random arrangements when enumeration is too long, default 100,000. */
  readonly draws?: number;
  readonly seed?: number;
}

export interface PermutationResult {
  readonly pValue: number;
  /** Whether every arrangement was counted; otherwise the p-value is a Monte Carlo estimate (Phipson & Smyth). */
  readonly exact: boolean;
}

/**
 * Sign-flip test that paired differences are symmetric about zero.
 *
 * Exact over all 2ⁿ sign patterns up to n = 20. The smallest attainable one-sided p-value is 2⁻ⁿ.
 */
export function signFlipTest(
  differences: readonly number[],
  options: PermutationOptions = {},
): PermutationResult {
  requireSample("signFlipTest", differences);
  const n = differences.length;
  const observed = mean(differences as number[]);
  const { exactUpTo = 2 ** 20 } = options;
  const exact = n <= 30 && 2 ** n <= exactUpTo;
  const extremes = countExtremes(observed, differences, options.alternative);
  if (exact) {
    const patterns = 2 ** n;
    for (let pattern = 0; pattern < patterns; pattern++) {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (pattern >>> i) & 1 ? -differences[i]! : differences[i]!;
      extremes.add(sum / n);
    }
  } else {
    const random = randomStream(options.seed ?? 0, "sign-flip");
    for (let draw = 0; draw < (options.draws ?? 100_000); draw++) {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += random.uniform() < 0.5 ? -differences[i]! : differences[i]!;
      extremes.add(sum / n);
    }
  }
  return extremes.result(exact);
}

/** Two-sample test of equal distributions by the difference of means, `first` minus `second`. */
export function permutationTest(
  first: readonly number[],
  second: readonly number[],
  options: PermutationOptions = {},
): PermutationResult {
  requireSample("permutationTest", first);
  requireSample("permutationTest", second);
  const pooled = [...first, ...second];
  const total = pooled.reduce((a, b) => a + b, 0);
  const [n, m] = [first.length, second.length];
  const difference = (sumOfFirst: number) => sumOfFirst / n - (total - sumOfFirst) / m;
  const observed = difference(first.reduce((a, b) => a + b, 0));
  const exact = binomial(n + m, n) <= (options.exactUpTo ?? 2 ** 20);
  const extremes = countExtremes(observed, pooled, options.alternative);
  if (exact) {
    const choose = (from: number, left: number, sum: number): void => {
      if (left === 0) {
        extremes.add(difference(sum));
        return;
      }
      for (let i = from; i <= pooled.length - left; i++) choose(i + 1, left - 1, sum + pooled[i]!);
    };
    choose(0, n, 0);
  } else {
    const random = randomStream(options.seed ?? 0, "permutation");
    for (let draw = 0; draw < (options.draws ?? 100_000); draw++) {
      const order = random.permutation(n + m);
      let sum = 0;
      for (let i = 0; i < n; i++) sum += pooled[order[i]!]!;
      extremes.add(difference(sum));
    }
  }
  return extremes.result(exact);
}

function countExtremes(observed: number, values: readonly number[], alternative: Alternative = "two-sided") {
  // Sums taken in another order differ in the last bits; a tie with the observed value must count as one.
  const slack = 1e-12 * values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  let extreme = 0;
  let count = 0;
  const isExtreme = {
    greater: (value: number) => value >= observed - slack,
    less: (value: number) => value <= observed + slack,
    "two-sided": (value: number) => Math.abs(value) >= Math.abs(observed) - slack,
  }[alternative];
  return {
    add(value: number) {
      count++;
      if (isExtreme(value)) extreme++;
    },
    result: (exact: boolean): PermutationResult => ({
      pValue: exact ? extreme / count : (extreme + 1) / (count + 1),
      exact,
    }),
  };
}

function binomial(n: number, k: number): number {
  let result = 1;
  for (let i = 1; i <= Math.min(k, n - k); i++) result = (result * (n - i + 1)) / i;
  return result;
}
