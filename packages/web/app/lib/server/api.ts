import { type Filters, readFilters } from "../filters";

/** A refusal in the API's form. */
export const refuse = (status: 400 | 404, error: string): Response => Response.json({ error }, { status });

export interface PageRequest {
  readonly limit: number;
  readonly after: string | undefined;
  readonly filters: Filters;
}

/** Reads `limit`, `after` and the filters; a wrong value is a refusal, not a guess. */
export function readPage(parameters: URLSearchParams, defaultLimit: number): PageRequest | Response {
  const limit = Number(parameters.get("limit") ?? defaultLimit);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100)
    return refuse(400, "limit must be a whole number from 1 to 100");
  const filters = readFilters(parameters);
  for (const name of ["year", "verdict"] as const)
    if (parameters.get(name) && filters[name] === undefined) return refuse(400, `there is no such ${name}`);
  return { limit, after: parameters.get("after") ?? undefined, filters };
}
