import type { Results } from "@prior-art/lab";
import { roomResults, standing } from "@prior-art/lab/node";
import type { Room } from "@prior-art/methods";
import type { Command } from "commander";
import { figures } from "../columns.ts";
import { dataOption } from "../dataFolder.ts";
import { notice } from "../notice.ts";
import { requireRoom } from "../usage.ts";

export function register(program: Command): void {
  program
    .command("show")
    .argument("<slug>", "the paper")
    .description("show a paper: what it says, how to import its method, how its claims fared")
    .option("--json", "print one JSON document")
    .addOption(dataOption())
    .action(show);
}

async function show(slug: string, options: { json?: boolean; data: string }): Promise<void> {
  const room = requireRoom(slug);
  const results = await roomResults(room, options.data, notice);
  if (!options.json) {
    process.stdout.write(describe(room, results));
    return;
  }
  const document = {
    ...room.paper,
    verdict: results?.verdict ?? null,
    hasMethod: room.hasMethod,
    hasExperiment: room.loadExperiment !== null,
    results: results
      ? {
          finishedAt: results.finishedAt,
          seconds: results.seconds,
          claims: results.claims.map(({ id, of, verdict, quantity, effect, interval, pValue, reason }) => ({
            id,
            of,
            verdict,
            quantity,
            effect,
            interval,
            pValue,
            reason,
          })),
        }
      : null,
  };
  process.stdout.write(`${JSON.stringify(document, null, 1)}\n`);
}

function describe(room: Room, results: Results | undefined): string {
  const { paper } = room;
  const lines = [
    paper.title,
    `${paper.authors.join(", ")} (${paper.year}) · ${paper.family}`,
    ...(paper.arxiv ? [`https://arxiv.org/abs/${paper.arxiv}`] : []),
    ...(paper.code ? [paper.code] : []),
    "",
    ...wrap(paper.summary),
    "",
    "Claims",
    ...paper.claims.flatMap(({ id, text }) => wrap(`${id}: ${text}`, "  ")),
    "",
    room.hasMethod
      ? `Method: import … from "@prior-art/methods/${paper.family}/${paper.slug}"`
      : "Method: not implemented yet",
    `Reproduction: ${standing(room, results)}`,
    ...(room.loadExperiment && !results ? [`  run it with: prior-art reproduce ${paper.slug}`] : []),
    ...(results?.claims ?? []).flatMap((claim) => [
      `  ${claim.verdict}: ${claim.statement}`,
      `    ${claim.quantity}: ${figures(claim.effect)}, 95% interval ${figures(claim.interval.low)} … ${figures(claim.interval.high)}; ${claim.reason}`,
    ]),
  ];
  return `${lines.join("\n")}\n`;
}

function wrap(text: string, indent = "", width = 100): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(indent + word);
  }
  return lines;
}
