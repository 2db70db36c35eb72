/** The rates that a search begins with. */
export const FIRST_RATES: readonly number[] = [0.015, 0.03, 0.06];
/** A search gives up when the best of so many rates is still the smallest or the largest. */
const MOST_RATES = 8;

export interface RateSearch {
  /** Ascending. */
  readonly rates: readonly number[];
  readonly losses: readonly number[];
  /** The rate of the least loss, with a worse one on either side. */
  readonly best: number;
}

/**
 * Tries rates a factor of two apart, until the best has a neighbour on either side.
 * @throws Error when eight rates did not do.
 */
export async function searchRate(lossOf: (rate: number) => Promise<number>): Promise<RateSearch> {
  const tried: { readonly rate: number; readonly loss: number }[] = [];
  const attempt = async (rate: number) => tried.push({ rate, loss: await lossOf(rate) });
  for (const rate of FIRST_RATES) await attempt(rate);
  for (;;) {
    tried.sort((a, b) => a.rate - b.rate);
    const least = Math.min(...tried.map(({ loss }) => loss));
    const at = tried.findIndex(({ loss }) => loss === least);
    if (at > 0 && at < tried.length - 1)
      return {
        rates: tried.map(({ rate }) => rate),
        losses: tried.map(({ loss }) => loss),
        best: tried[at]!.rate,
      };
    if (tried.length >= MOST_RATES)
      throw new Error(
        `the best meta-learning rate is beyond ${tried[at]?.rate}, where ${MOST_RATES} were tried`,
      );
    await attempt(at === 0 ? tried[0]!.rate / 2 : tried.at(-1)!.rate * 2);
  }
}
