import type { GenericSchema } from "valibot";
import * as v from "valibot";
import {
  errorSchema,
  familySchema,
  leaderboardSchema,
  paperListSchema,
  paperSchema,
  resultsSchema,
  searchResultSchema,
  voteSchema,
} from "./schemas.ts";

/** A parameter in the query or the path. */
export interface ApiParameter {
  readonly name: string;
  readonly in: "query" | "path";
  readonly description: string;
  readonly type: "string" | "integer";
  readonly required?: boolean;
  readonly values?: readonly string[];
}

export interface ApiOperation {
  readonly method: "get" | "post" | "delete";
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly parameters: readonly ApiParameter[];
  readonly answer: GenericSchema;
  /** Statuses of refusals besides 429. */
  readonly refusals: readonly (400 | 403 | 404)[];
}

const paper: ApiParameter = {
  name: "id",
  in: "path",
  description: "id, arXiv id or DOI of a paper",
  type: "string",
  required: true,
};
const family: ApiParameter = {
  name: "family",
  in: "path",
  description: "name of a family",
  type: "string",
  required: true,
};
const limit: ApiParameter = { name: "limit", in: "query", description: "entries, 1–100", type: "integer" };
const after: ApiParameter = {
  name: "after",
  in: "query",
  description: "`next` of the page before",
  type: "string",
};
const filters: readonly ApiParameter[] = [
  { name: "family", in: "query", description: "only this family", type: "string" },
  { name: "year", in: "query", description: "only this year", type: "integer" },
  { name: "author", in: "query", description: "part of an author's name", type: "string" },
  {
    name: "verdict",
    in: "query",
    description: "only papers with this verdict",
    type: "string",
    values: ["reproduced", "partly", "not reproduced"],
  },
];

/** Everything that can be asked. */
export const operations: readonly ApiOperation[] = [
  {
    method: "get",
    path: "/api/papers",
    id: "papers",
    summary: "Papers by id, in pages",
    parameters: [...filters, limit, after],
    answer: paperListSchema,
    refusals: [400],
  },
  {
    method: "get",
    path: "/api/papers/{id}",
    id: "paper",
    summary: "One paper",
    parameters: [paper],
    answer: paperSchema,
    refusals: [404],
  },
  {
    method: "get",
    path: "/api/papers/{id}/similar",
    id: "similar",
    summary: "Papers about the same thing",
    parameters: [paper],
    answer: paperListSchema,
    refusals: [404],
  },
  {
    method: "get",
    path: "/api/papers/{id}/results",
    id: "results",
    summary: "The last full reproduction of a paper",
    parameters: [paper],
    answer: resultsSchema,
    refusals: [404],
  },
  {
    method: "get",
    path: "/api/papers/{id}/vote",
    id: "votes",
    summary: "Votes for a paper, and whether one of them is the caller's",
    parameters: [paper],
    answer: voteSchema,
    refusals: [404],
  },
  {
    method: "post",
    path: "/api/papers/{id}/vote",
    id: "vote",
    summary: "Vote for a paper; voting again changes nothing",
    parameters: [paper],
    answer: voteSchema,
    refusals: [403, 404],
  },
  {
    method: "delete",
    path: "/api/papers/{id}/vote",
    id: "withdrawVote",
    summary: "Take the vote back",
    parameters: [paper],
    answer: voteSchema,
    refusals: [403, 404],
  },
  {
    method: "get",
    path: "/api/search",
    id: "search",
    summary: "Papers for a question in plain words",
    parameters: [
      { name: "q", in: "query", description: "what is looked for", type: "string", required: true },
      ...filters,
      limit,
      after,
    ],
    answer: searchResultSchema,
    refusals: [400],
  },
  {
    method: "get",
    path: "/api/trending",
    id: "trending",
    summary: "What is trending",
    parameters: [
      {
        name: "window",
        in: "query",
        description: "how far back votes and runs count (default week)",
        type: "string",
        values: ["day", "week", "month"],
      },
      filters[0]!,
      limit,
    ],
    answer: paperListSchema,
    refusals: [400],
  },
  {
    method: "get",
    path: "/api/families",
    id: "families",
    summary: "The families of the collection",
    parameters: [],
    answer: v.array(familySchema),
    refusals: [],
  },
  {
    method: "get",
    path: "/api/families/{family}/leaderboard",
    id: "leaderboard",
    summary: "A family's methods on its shared task",
    parameters: [family],
    answer: leaderboardSchema,
    refusals: [404],
  },
];

export { errorSchema };
