import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Command } from "commander";
import * as v from "valibot";
import { columns, figures } from "../columns.ts";
import { notice } from "../notice.ts";
import { UsageError } from "../usage.ts";

const rowSchema = v.object({
  suite: v.string(),
  case: v.string(),
  /** Our time (or other cost), in `unit`. */
  ours: v.number(),
  peer: v.number(),
  peerName: v.string(),
  /** Above 1 when we are better. */
  ratio: v.number(),
  unit: v.exactOptional(v.string()),
});

/** One case of a suite, measured side by side with a peer in the same run. */
export type BenchRow = v.InferOutput<typeof rowSchema>;

/** What a module in the bench folder exports as `run`. */
export type BenchSuite = (context: {
  readonly json: boolean;
  /** Says on standard error why a peer is left out. */
  readonly notice: (message: string) => void;
}) => Promise<BenchRow[]>;

const benchFolder = fileURLToPath(new URL("../../../../bench/", import.meta.url));

export function register(program: Command): void {
  program
    .command("bench")
    .argument("[suite...]", "suites to run; default all")
    .description("measure side by side with peers")
    .option("--json", "print one JSON document")
    .action(async (suites: string[], options: { json?: boolean }) => {
      const rows = await runSuites(benchFolder, suites, options.json ?? false);
      process.stdout.write(options.json ? `${JSON.stringify(rows, null, 1)}\n` : benchTable(rows));
    });
}

/**
 * Runs suites one after another: modules `<suite>.mjs` (or `.js`) in the folder or its `dist`.
 *
 * @throws UsageError for a suite that is not there, Error when a suite returns something other than rows.
 */
export async function runSuites(
  folder: string,
  wanted: readonly string[],
  json: boolean,
): Promise<BenchRow[]> {
  const available = suiteFiles(folder);
  const names = wanted.length ? wanted : [...available.keys()];
  const missing = names.find((name) => !available.has(name));
  if (missing !== undefined || names.length === 0) {
    const known = [...available.keys()].join(", ") || "none so far";
    throw new UsageError(`there is no suite ${missing ?? "to run"}; suites: ${known}`);
  }
  const rows: BenchRow[] = [];
  for (const name of names) {
    const module = (await import(pathToFileURL(available.get(name)!).href)) as { run: BenchSuite };
    const returned = await module.run({ json, notice });
    const parsed = v.safeParse(v.array(rowSchema), returned);
    if (!parsed.success) {
      const issue = parsed.issues[0];
      throw new Error(`suite ${name} returned a bad row: ${v.getDotPath(issue)}: ${issue.message}`);
    }
    rows.push(...parsed.output);
  }
  return rows;
}

export function benchTable(rows: readonly BenchRow[]): string {
  const cells = rows.map((row) => [
    row.suite,
    row.case,
    `${figures(row.ours)} ${row.unit ?? "ms"}`,
    row.peerName,
    `${figures(row.peer)} ${row.unit ?? "ms"}`,
    `${row.ratio.toFixed(2)}×`,
  ]);
  const table = columns(["suite", "case", "ours", "peer", "theirs", "ratio"], cells);
  return `${table}\n${geometricMeans(rows)
    .map(([peer, mean]) => `geometric mean against ${peer}: ${mean.toFixed(2)}×`)
    .join("\n")}\n`;
}

function geometricMeans(rows: readonly BenchRow[]): [string, number][] {
  const peers = [...new Set(rows.map(({ peerName }) => peerName))];
  return peers.map((peer) => {
    const logs = rows.filter(({ peerName }) => peerName === peer).map(({ ratio }) => Math.log(ratio));
    return [peer, Math.exp(logs.reduce((a, b) => a + b, 0) / logs.length)];
  });
}

function suiteFiles(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const place of [join(folder, "dist"), folder]) {
    let names: string[];
    try {
      names = readdirSync(place);
    } catch {
      continue;
    }
    for (const name of names.filter((file) => /^[\w-]+\.m?js$/.test(file)).sort()) {
      files.set(name.replace(/\.m?js$/, ""), join(place, name));
    }
  }
  return files;
}
