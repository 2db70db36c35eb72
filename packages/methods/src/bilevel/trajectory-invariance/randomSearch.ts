/** What random search with `count` runs of a grid is expected to reach: the expected least of `count` different values drawn at random, or the least of all where there are fewer. */
export function expectedBest(values: readonly number[], count: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  if (n <= count) return sorted[0]!;
  // That the i-th is drawn and none below it.
  let chance = count / n;
  return sorted.reduce((total, value, i) => {
    const term = chance * value;
    chance *= Math.max(0, n - i - count) / (n - 1 - i || 1);
    return total + term;
  }, 0);
}
