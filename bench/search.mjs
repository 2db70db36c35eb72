import { runSearchBench } from "@prior-art/library/bench";
import { rooms } from "@prior-art/methods";

/** Relevance on the questions of the collection, and speed over 100,000 synthetic papers. */
export const run = ({ json, notice }) =>
  runSearchBench({
    json,
    notice,
    papers: rooms.map(({ paper, hasMethod }) => ({ ...paper, hasMethod })),
    databaseUrl: process.env.DATABASE_URL,
  });
