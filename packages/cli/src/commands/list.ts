import { roomResults, standing, standings } from "@prior-art/lab/node";
import { rooms } from "@prior-art/methods";
import { type Command, Option } from "commander";
import { columns } from "../columns.ts";
import { dataOption } from "../dataFolder.ts";
import { notice } from "../notice.ts";
import { requireFamily } from "../usage.ts";

export function register(program: Command): void {
  program
    .command("list")
    .description("list the papers with their verdicts")
    .option("--family <family>", "only this family")
    .addOption(new Option("--verdict <verdict>", "only papers with this verdict").choices([...standings]))
    .option("--json", "print one JSON document")
    .addOption(dataOption())
    .action(list);
}

async function list(options: {
  family?: string;
  verdict?: string;
  json?: boolean;
  data: string;
}): Promise<void> {
  if (options.family !== undefined) requireFamily(options.family);
  const inFamily = rooms.filter(({ paper }) => !options.family || paper.family === options.family);
  const entries = [];
  for (const room of inFamily) {
    const results = await roomResults(room, options.data, notice);
    if (options.verdict && results?.verdict !== options.verdict) continue;
    entries.push({ room, results });
  }
  if (options.json) {
    const documents = entries.map(({ room: { paper, hasMethod, loadExperiment }, results }) => ({
      slug: paper.slug,
      family: paper.family,
      title: paper.title,
      year: paper.year,
      arxiv: paper.arxiv,
      verdict: results?.verdict ?? null,
      hasMethod,
      hasExperiment: loadExperiment !== null,
    }));
    process.stdout.write(`${JSON.stringify(documents, null, 1)}\n`);
    return;
  }
  const rows = entries.map(({ room, results }) => [
    room.paper.slug,
    room.paper.family,
    String(room.paper.year),
    standing(room, results),
  ]);
  process.stdout.write(columns(["paper", "family", "year", "verdict"], rows));
}
