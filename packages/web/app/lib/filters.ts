const VERDICTS = ["reproduced", "partly", "not reproduced"] as const;

export interface Filters {
  readonly family?: string;
  readonly year?: number;
  readonly author?: string;
  readonly verdict?: (typeof VERDICTS)[number];
}

/** The filters of a search from the address; what makes no sense counts as absent. */
export function readFilters(parameters: URLSearchParams): Filters {
  const text = (name: string) => parameters.get(name)?.trim().slice(0, 200) || undefined;
  const family = text("family");
  const author = text("author");
  const year = Number(text("year"));
  const verdict = VERDICTS.find((name) => name === text("verdict"));
  return {
    ...(family ? { family } : {}),
    ...(author ? { author } : {}),
    ...(Number.isInteger(year) && year > 0 && year < 10_000 ? { year } : {}),
    ...(verdict ? { verdict } : {}),
  };
}
