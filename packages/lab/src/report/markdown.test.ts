import { expect, test } from "vitest";
import toy from "../fixtures/toy.ts";
import { inMemory, inThread } from "../local.ts";
import { reproduce } from "../reproduce.ts";
import { leaderboardsDocument, resultsDocument } from "./markdown.ts";

const environment = { machine: { cpu: "any", cores: 1, memoryGiB: 1, platform: "any" }, versions: {} };
const results = await reproduce({
  slug: "toy",
  experiment: toy,
  mode: "full",
  executor: inThread(toy),
  store: inMemory(),
  environment,
  codeVersion: "1",
});
const paper = {
  slug: "toy",
  family: "toys",
  title: "A toy",
  authors: ["A. Author"],
  year: 2026,
  summary: "",
  arxiv: null,
};

test("every paper has a line with its verdicts counted, and every claim one with effect and interval", () => {
  const claims = results.claims.map((claim, i) => (i === 0 ? { ...claim, statement: "a | b\nc" } : claim));
  const text = resultsDocument([{ paper, results: { ...results, claims } }]);
  expect(text).toContain("1 papers: 0 reproduced, 1 partly, 0 not reproduced");
  expect(text).toContain("| [toy](#toy) | toys | partly | 3 | 1 | 1 | 8 |");
  expect(text.split("\n").filter((line) => line.includes("a \\| b c"))).toHaveLength(1);
  for (const { verdict, quantity } of results.claims) expect(text).toContain(`| ${verdict} | ${quantity} |`);
  expect(text).toContain("Diverged: reckless on 4 seeds.");
});

test("a leaderboard has the arms in order, with what diverged", () => {
  const text = leaderboardsDocument([{ family: "toys", experiment: toy, results }]);
  const order = ["Momentum", "Plain descent", "Reckless"].map((label) => text.indexOf(`| ${label} |`));
  expect(order.every((at) => at > 0)).toBe(true);
  expect(text).toContain("4 of 8 seeds diverged");
});
