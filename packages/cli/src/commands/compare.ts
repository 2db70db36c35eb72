import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { byProblem, leaderboard } from "@prior-art/lab";
import { reproductionFiles, runReproduction, writeResults } from "@prior-art/lab/node";
import { tasks } from "@prior-art/methods";
import { leaderboardFile, taskModule } from "@prior-art/methods/places";
import type { Command } from "commander";
import { columns, figures } from "../columns.ts";
import { dataOption, requireWritable } from "../dataFolder.ts";
import { type EngineOptions, engineOptions, openEngine, stopSignal } from "../engine.ts";
import { notice } from "../notice.ts";
import { progressView } from "../progress.ts";
import { requireFamily, UsageError, wholeNumber } from "../usage.ts";

export function register(program: Command): void {
  const command = program
    .command("compare")
    .argument("<family>", "the family whose methods race")
    .description("race a family's methods on its shared task")
    .option("--quick", "the quick settings")
    .option("--workers <n>", "units that run at the same time", wholeNumber(1), availableParallelism())
    .option("--save", "keep the leaderboard with the family, as leaderboard.json")
    .option("--json", "print one JSON document")
    .addOption(dataOption())
    .action(compare);
  engineOptions(command);
}

async function compare(
  family: string,
  options: EngineOptions & { quick?: boolean; save?: boolean; json?: boolean; data: string },
): Promise<void> {
  const load = tasks[requireFamily(family)];
  if (!load) {
    const others = Object.keys(tasks).join(", ") || "none so far";
    throw new UsageError(`the family ${family} has no shared task yet; families with one: ${others}`);
  }
  if (options.save && options.quick)
    throw new UsageError("--save keeps full comparisons only; leave out --quick");
  const dataFolder = await requireWritable(options.data);
  const experiment = (await load()).default;
  const slug = `compare-${family}`;
  const mode = options.quick ? "quick" : "full";
  const view = progressView([{ title: slug, weight: 1 }], process.stderr);
  const moduleUrl = taskModule(family).href;
  const engine = await openEngine(options);
  const stop = stopSignal(engine.onStop);
  try {
    const results = await runReproduction({
      slug,
      paper: {
        title: `Leaderboard: ${family}`,
        authors: ["Prior Art"],
        year: new Date().getFullYear(),
        summary: "The family's methods on its shared task.",
        arxiv: null,
      },
      experiment,
      moduleUrl,
      mode,
      executor: engine.executor({ moduleUrl, reference: { kind: "family", name: family } }),
      dataFolder,
      signal: stop.signal,
      onEvent: view.job(0).onEvent,
      onCorrupted: (path, reason) => notice(`${path} is corrupted (${reason}) and is made again`),
    });
    view.close();
    const saved = fileURLToPath(leaderboardFile(family));
    if (options.save) await writeResults(saved, results);
    const rows = leaderboard(experiment, results);
    const { metric, goal, also = [] } = experiment.leaderboard!;
    if (options.json) {
      process.stdout.write(`${JSON.stringify({ family, mode, metric, goal, rows }, null, 1)}\n`);
      return;
    }
    for (const board of byProblem(rows)) {
      const cells = board.rows.map((row, rank) => [
        String(rank + 1),
        row.label,
        figures(row.mean),
        `${figures(row.interval.low)} … ${figures(row.interval.high)}`,
        ...also.map((other: string) => figures(row.also[other]!.mean)),
        row.diverged ? `${row.diverged} of ${row.seeds + row.diverged} diverged` : "",
      ]);
      if (board.problem !== undefined) process.stdout.write(`\n${board.problem}\n`);
      process.stdout.write(columns(["", "method", metric, "95% interval", ...also, ""], cells));
    }
    process.stdout.write(`\nreport: ${reproductionFiles(dataFolder, slug, mode).report}\n`);
    if (options.save) process.stdout.write(`saved: ${saved}\n`);
  } finally {
    stop.release();
    view.close();
    await engine.close();
  }
}
