import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ReportedPaper, Results } from "@prior-art/lab";
import type { ExperimentReference } from "@prior-art/lab/cluster";
import {
  readResults,
  reproductionFiles,
  runReproduction,
  savedResultsPath,
  writeResults,
} from "@prior-art/lab/node";
import { type Room, rooms } from "@prior-art/methods";
import { experimentModule } from "@prior-art/methods/places";
import type { AnyExperiment } from "@prior-art/toolkit/experiment";
import type { Command } from "commander";
import { columns, duration, figures } from "../columns.ts";
import { dataOption, requireWritable } from "../dataFolder.ts";
import { type Engine, type EngineOptions, engineOptions, openEngine, stopSignal } from "../engine.ts";
import { notice } from "../notice.ts";
import { type JobView, progressView } from "../progress.ts";
import { requireFamily, requireRoom, UsageError, wholeNumber } from "../usage.ts";

interface ReproduceOptions extends EngineOptions {
  family?: string;
  all?: boolean;
  quick?: boolean;
  seeds?: number;
  save?: boolean;
  json?: boolean;
  data: string;
}

interface Target {
  readonly slug: string;
  readonly paper: ReportedPaper;
  readonly moduleUrl: string;
  /** Absent for somebody's own file. */
  readonly reference?: ExperimentReference;
  readonly load: () => Promise<{ readonly default: AnyExperiment }>;
  /** Where `--save` keeps the results. */
  readonly savePath?: string;
}

type Outcome = { readonly slug: string; readonly seconds: number } & (
  | { readonly results: Results }
  | { readonly error: string }
);

export function register(program: Command): void {
  const command = program
    .command("reproduce")
    .argument("[slug...]", "papers, or files that export an experiment")
    .description("run reproductions and judge the papers' claims")
    .option("--family <family>", "every paper of this family")
    .option("--all", "every paper")
    .option("--quick", "the quick settings: a look, not a reproduction")
    .option("--seeds <n>", "number of test seeds instead of the experiment's own", wholeNumber(1))
    .option("--workers <n>", "units that run at the same time", wholeNumber(1), availableParallelism())
    .option("--save", "keep the results with the paper, as results.json")
    .option("--json", "print one JSON document")
    .addOption(dataOption())
    .addHelpText(
      "after",
      "\nExit status: 0 when every reproduction held at least partly, 1 when one did not or failed.\n" +
        "A run that was stopped goes on where it was when the same command is given again.",
    )
    .action(reproduceAll);
  engineOptions(command);
}

async function reproduceAll(slugs: string[], options: ReproduceOptions): Promise<void> {
  const targets = chooseTargets(slugs, options);
  if (options.save && options.quick) {
    throw new UsageError("--save keeps full reproductions only; leave out --quick");
  }
  const dataFolder = await requireWritable(options.data);
  const engine = await openEngine(options);
  const stop = stopSignal(engine.onStop);
  const outcomes = new Array<Outcome>(targets.length);
  const view = progressView(
    await Promise.all(targets.map((target) => jobOf(target, options))),
    process.stderr,
  );
  try {
    const queue = targets.entries();
    const work = async () => {
      for (const [index, target] of queue) {
        const where = { dataFolder, engine, signal: stop.signal, view: view.job(index) };
        outcomes[index] = await reproduceOne(target, options, where);
      }
    };
    await Promise.all(Array.from({ length: engine.atOnce }, work));
    view.close();
    if (!options.json && targets.length === 1) report(outcomes[0]!, targets[0]!, options, dataFolder);
  } finally {
    view.close();
    stop.release();
    await engine.close();
  }
  if (options.json) process.stdout.write(`${JSON.stringify(outcomes.map(toJson), null, 1)}\n`);
  else if (outcomes.length > 1) summarize(outcomes, dataFolder);
  if (outcomes.some((outcome) => "error" in outcome || outcome.results.verdict === "not reproduced")) {
    process.exitCode = 1;
  }
}

/** Papers count in the progress by the time that their last full reproduction took. */
async function jobOf({ slug, savePath }: Target, { quick }: ReproduceOptions) {
  const saved = quick || !savePath ? undefined : await readResults(savePath).catch(() => undefined);
  return { title: slug, weight: saved?.seconds ?? 60 };
}

async function reproduceOne(
  target: Target,
  options: ReproduceOptions,
  {
    view,
    engine,
    ...where
  }: {
    readonly dataFolder: string;
    readonly engine: Engine;
    readonly signal: AbortSignal;
    readonly view: JobView;
  },
): Promise<Outcome> {
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  try {
    const mode = options.quick ? "quick" : "full";
    const results = await runReproduction({
      slug: target.slug,
      paper: target.paper,
      experiment: (await target.load()).default,
      moduleUrl: target.moduleUrl,
      mode,
      executor: engine.executor(target),
      ...where,
      onEvent: view.onEvent,
      onCorrupted: (path, reason) => notice(`${path} is corrupted (${reason}) and is made again`),
      ...(options.seeds === undefined ? {} : { seeds: options.seeds }),
    });
    if (options.save) await writeResults(target.savePath!, results);
    return { slug: target.slug, seconds: seconds(), results };
  } catch (error) {
    where.signal.throwIfAborted();
    if (error instanceof UsageError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    notice(`${target.slug} failed: ${message}`);
    return { slug: target.slug, seconds: seconds(), error: message };
  } finally {
    view.close();
  }
}

function chooseTargets(slugs: readonly string[], options: ReproduceOptions): Target[] {
  const ways = [slugs.length > 0, options.family !== undefined, options.all === true].filter(Boolean).length;
  if (ways !== 1) throw new UsageError("name papers, or give --family F, or give --all");
  if (slugs.length > 0) return [...new Set(slugs)].map((slug) => namedTarget(slug, options));
  if (options.family !== undefined) requireFamily(options.family);
  const wanted = rooms.filter(({ paper }) => options.all || paper.family === options.family);
  const runnable = wanted.filter(({ loadExperiment }) => loadExperiment);
  if (runnable.length < wanted.length) {
    notice(
      `${wanted.length - runnable.length} of ${wanted.length} papers are not implemented yet and left out`,
    );
  }
  if (runnable.length === 0) throw new UsageError("none of these papers has an experiment yet");
  return runnable.map(roomTarget);
}

function namedTarget(name: string, options: ReproduceOptions): Target {
  if (/\.m?js$/.test(name)) return fileTarget(name, options);
  const room = requireRoom(name);
  if (!room.loadExperiment) {
    throw new UsageError(`${name} is not implemented yet; prior-art list shows which papers can be run`);
  }
  return roomTarget(room);
}

function roomTarget(room: Room): Target {
  return {
    slug: room.paper.slug,
    paper: room.paper,
    moduleUrl: experimentModule(room).href,
    reference: { kind: "paper", name: room.paper.slug },
    load: room.loadExperiment!,
    savePath: savedResultsPath(room),
  };
}

/** Someone's own experiment: a module whose default export is what `defineExperiment` returned. */
function fileTarget(name: string, options: ReproduceOptions): Target {
  const path = resolve(name);
  if (!existsSync(path)) throw new UsageError(`there is no file ${path}`);
  if (options.save)
    throw new UsageError("--save is for papers of the collection; a file's results are in --data");
  const moduleUrl = pathToFileURL(path).href;
  const slug = basename(name)
    .replace(/\.m?js$/, "")
    .replaceAll(/[^\w-]/g, "-");
  return {
    slug,
    paper: { title: basename(name), authors: [], year: new Date().getFullYear(), summary: "", arxiv: null },
    moduleUrl,
    load: async () => {
      const module = (await import(moduleUrl)) as { default?: AnyExperiment };
      if (typeof module.default?.run !== "function")
        throw new TypeError("its default export is not an experiment");
      return { default: module.default };
    },
  };
}

function toJson(outcome: Outcome) {
  const { slug, seconds } = outcome;
  if ("error" in outcome) return { slug, verdict: null, claims: [], seconds, error: outcome.error };
  const { results } = outcome;
  const finite = (value: number) => (Number.isFinite(value) ? value : null);
  return {
    slug,
    mode: results.mode,
    verdict: results.verdict,
    claims: results.claims.map(({ id, verdict, effect, interval, pValue }) => ({
      id,
      verdict,
      effect: finite(effect),
      interval: [finite(interval.low), finite(interval.high)],
      ...(pValue === undefined ? {} : { pValue }),
    })),
    diverged: results.units
      .filter(({ status }) => status === "diverged")
      .map(({ arm, seed, hyperparameters, reason }) => ({ arm, seed, hyperparameters, reason })),
    seconds,
  };
}

function report(outcome: Outcome, target: Target, options: ReproduceOptions, dataFolder: string): void {
  if ("error" in outcome) return;
  const { results, seconds } = outcome;
  const rows = results.claims.map((claim) => [
    claim.verdict,
    figures(claim.effect),
    `${figures(claim.interval.low)} … ${figures(claim.interval.high)}`,
    claim.pValue === undefined ? "" : figures(claim.pValue),
    claim.statement,
  ]);
  const files = reproductionFiles(dataFolder, target.slug, results.mode);
  const diverged = results.units.filter(({ status }) => status === "diverged").length;
  process.stdout.write(
    `${target.slug}: ${results.verdict ?? "no claims"}, ${results.mode} settings, ${results.seeds.length} seeds, ` +
      `${duration(seconds)}${diverged ? `, ${diverged} units diverged` : ""}\n\n` +
      `${columns(["verdict", "effect", "95% interval", "p", "claim"], rows)}\n` +
      `report: ${files.report}\n${options.save ? `saved: ${target.savePath}\n` : ""}\n`,
  );
}

function summarize(outcomes: readonly Outcome[], dataFolder: string): void {
  const rows = outcomes.map((outcome) => {
    if ("error" in outcome) return [outcome.slug, "failed", "", "", "", duration(outcome.seconds)];
    const { claims, verdict } = outcome.results;
    const count = (wanted: string) => String(claims.filter((claim) => claim.verdict === wanted).length);
    return [
      outcome.slug,
      verdict ?? "no claims",
      count("reproduced"),
      count("partly"),
      count("not reproduced"),
      duration(outcome.seconds),
    ];
  });
  const head = ["paper", "verdict", "claims reproduced", "partly", "not", "time"];
  process.stdout.write(columns(head, rows));
  process.stdout.write(`\nreports: ${join(dataFolder, "reproductions")}\n`);
}
