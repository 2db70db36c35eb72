import * as v from "valibot";

/** Documents of the HTTP API. The OpenAPI document and the client's types are made from these. */
const verdict = v.picklist(["reproduced", "partly", "not reproduced"]);
const nullable = <S extends v.GenericSchema>(schema: S) => v.nullable(schema);

export const paperSchema = v.object({
  id: v.string(),
  title: v.string(),
  authors: v.array(v.string()),
  year: nullable(v.number()),
  family: nullable(v.string()),
  arxiv: nullable(v.string()),
  doi: nullable(v.string()),
  code: nullable(v.string()),
  summary: v.string(),
  problem: v.string(),
  keywords: v.array(v.string()),
  claims: v.array(v.object({ id: v.string(), text: v.string(), verdict: nullable(verdict) })),
  verdict: nullable(verdict),
  hasMethod: v.boolean(),
});

export const paperListSchema = v.object({
  papers: v.array(paperSchema),
  /** `after` of the next page. */
  next: nullable(v.string()),
});

export const searchResultSchema = v.object({
  hits: v.array(v.object({ paper: paperSchema, score: v.number(), snippet: v.string() })),
  total: v.number(),
  next: nullable(v.string()),
  corrections: v.array(v.object({ word: v.string(), readAs: v.string() })),
});

export const familySchema = v.object({ family: v.string(), papers: v.number(), implemented: v.number() });

const interval = v.object({ low: nullable(v.number()), high: nullable(v.number()) });

export const claimResultSchema = v.object({
  id: v.string(),
  of: v.string(),
  statement: v.string(),
  verdict,
  quantity: v.string(),
  effect: nullable(v.number()),
  interval,
  pValue: nullable(v.number()),
  reason: v.string(),
});

export const resultsSchema = v.object({
  paper: v.string(),
  verdict: nullable(verdict),
  finishedAt: v.string(),
  seconds: v.number(),
  seeds: v.number(),
  claims: v.array(claimResultSchema),
});

export const leaderboardSchema = v.object({
  family: v.string(),
  metric: v.string(),
  goal: v.picklist(["minimize", "maximize"]),
  seeds: v.number(),
  rows: v.array(
    v.object({
      arm: v.string(),
      label: v.string(),
      problem: nullable(v.string()),
      mean: nullable(v.number()),
      interval,
      also: v.array(v.object({ metric: v.string(), mean: nullable(v.number()), interval })),
      seeds: v.number(),
      diverged: v.number(),
    }),
  ),
});

export const voteSchema = v.object({ votes: v.number(), own: v.boolean() });

export const errorSchema = v.object({ error: v.string() });

export type ApiPaper = v.InferOutput<typeof paperSchema>;
export type ApiPaperList = v.InferOutput<typeof paperListSchema>;
export type ApiSearchResult = v.InferOutput<typeof searchResultSchema>;
export type ApiFamily = v.InferOutput<typeof familySchema>;
export type ApiResults = v.InferOutput<typeof resultsSchema>;
export type ApiLeaderboard = v.InferOutput<typeof leaderboardSchema>;
export type ApiVote = v.InferOutput<typeof voteSchema>;
