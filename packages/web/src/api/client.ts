import type {
  ApiFamily,
  ApiLeaderboard,
  ApiPaper,
  ApiPaperList,
  ApiResults,
  ApiSearchResult,
  ApiVote,
} from "./schemas.ts";

export type * from "./schemas.ts";

/** Which papers a list or a search may contain. */
export interface PaperFilter {
  readonly family?: string;
  readonly year?: number;
  readonly author?: string;
  readonly verdict?: "reproduced" | "partly" | "not reproduced";
}

export interface PageRequest {
  /** Entries, 1–100. */
  readonly limit?: number;
  /** `next` of the page before. */
  readonly after?: string;
}

/** The API refused; the message is its reason. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A typed client of the HTTP API. */
export interface Client {
  papers(request?: PaperFilter & PageRequest): Promise<ApiPaperList>;
  paper(id: string): Promise<ApiPaper>;
  similar(id: string): Promise<ApiPaperList>;
  results(id: string): Promise<ApiResults>;
  search(query: string, request?: PaperFilter & PageRequest): Promise<ApiSearchResult>;
  trending(request?: {
    readonly window?: "day" | "week" | "month";
    readonly family?: string;
    readonly limit?: number;
  }): Promise<ApiPaperList>;
  families(): Promise<ApiFamily[]>;
  leaderboard(family: string): Promise<ApiLeaderboard>;
  votes(id: string): Promise<ApiVote>;
  vote(id: string): Promise<ApiVote>;
  withdrawVote(id: string): Promise<ApiVote>;
}

/**
 * @param address where the site is, such as `http://localhost:3000`
 *
 * @example
 * const client = createClient("http://localhost:3000");
 * const { hits } = await client.search("my network memorizes wrong labels", { limit: 3 });
 *
 * Every method throws an ApiError with the server's reason when the server refuses.
 */
export function createClient(address: string, { fetch = globalThis.fetch } = {}): Client {
  async function ask<Answer>(path: string, query: object = {}, method = "GET"): Promise<Answer> {
    const url = new URL(`/api${path}`, address);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const response = await fetch(url, { method, headers: { Accept: "application/json" } });
    const body = (await response.json().catch(() => undefined)) as (Answer & { error?: string }) | undefined;
    if (!response.ok || body === undefined)
      throw new ApiError(response.status, body?.error ?? `the answer has status ${response.status}`);
    return body;
  }
  const ofPaper = (id: string, rest = "") => `/papers/${encodeURIComponent(id)}${rest}`;
  return {
    papers: (request) => ask("/papers", request),
    paper: (id) => ask(ofPaper(id)),
    similar: (id) => ask(ofPaper(id, "/similar")),
    results: (id) => ask(ofPaper(id, "/results")),
    search: (query, request) => ask("/search", { q: query, ...request }),
    trending: (request) => ask("/trending", request),
    families: () => ask("/families"),
    leaderboard: (family) => ask(`/families/${encodeURIComponent(family)}/leaderboard`),
    votes: (id) => ask(ofPaper(id, "/vote")),
    vote: (id) => ask(ofPaper(id, "/vote"), {}, "POST"),
    withdrawVote: (id) => ask(ofPaper(id, "/vote"), {}, "DELETE"),
  };
}
