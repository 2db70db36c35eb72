import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BuiltInPaper } from "../collection/builtIn.ts";
import { draftPaper, type PaperDraft, type PaperFields } from "../collection/paper.ts";

/** A moment for tests in which time must not pass. */
export const NOON = new Date("2026-03-10T12:00:00Z");

/** A built-in paper with made-up but sensible text. */
export function builtIn(slug: string, changes: Partial<BuiltInPaper> = {}): BuiltInPaper {
  return {
    slug,
    title: `About ${slug.replaceAll("-", " ")}`,
    family: "optimizers",
    authors: ["Ada Lovelace", "Emmy Noether"],
    year: 2024,
    arxiv: null,
    code: null,
    summary: `What we know of ${slug.replaceAll("-", " ")} in a few words.`,
    problem: `Training fails because of ${slug.replaceAll("-", " ")}.`,
    keywords: slug.split("-"),
    claims: [{ id: "works", text: "It works." }],
    ...changes,
  };
}

export const draft = (fields: Partial<PaperFields> & { title: string }): PaperDraft =>
  draftPaper(fields, NOON);

/** The metadata of the papers' rooms in this repository. */
export function collectionOnDisk(): BuiltInPaper[] {
  const root = fileURLToPath(new URL("../../../methods/src/", import.meta.url));
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith("paper.json"))
    .sort()
    .map((path) => {
      const paper = JSON.parse(readFileSync(join(root, path), "utf8")) as BuiltInPaper;
      const results = join(root, path, "..", "results.json");
      return existsSync(results) ? { ...paper, results: JSON.parse(readFileSync(results, "utf8")) } : paper;
    });
}
