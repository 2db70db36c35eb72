import { join } from "node:path";
import type { AnyExperiment, Mode } from "@prior-art/toolkit/experiment";
import { drawFigure } from "../report/figure.ts";
import { type ReportedPaper, renderReport } from "../report/html.ts";
import { type Executor, type LabEvent, reproduce } from "../reproduce.ts";
import type { Results } from "../results.ts";
import { codeVersion, thisEnvironment } from "./environment.ts";
import { fileStore, writeAtomically, writeResults } from "./files.ts";

export interface ReproductionOptions {
  readonly slug: string;
  readonly paper: ReportedPaper;
  readonly experiment: AnyExperiment;
  /** The experiment's module as worker threads import it. */
  readonly moduleUrl: string;
  readonly mode: Mode;
  readonly seeds?: number;
  /** What runs the units of this code. */
  readonly executor: (codeVersion: string) => Executor;
  /** Finished units, results, figures and reports are kept in here. */
  readonly dataFolder: string;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: LabEvent) => void;
  /** Told of stored files that are not what the lab wrote; they are made again. */
  readonly onCorrupted: (path: string, reason: string) => void;
}

/** Files of one reproduction, whether or not they exist yet. */
export function reproductionFiles(dataFolder: string, slug: string, mode: Mode) {
  const folder = join(dataFolder, "reproductions", slug, mode);
  return {
    folder,
    results: join(folder, "results.json"),
    svg: join(folder, "figure.svg"),
    png: join(folder, "figure.png"),
    report: join(folder, "report.html"),
  };
}

/** Reproduces, resuming from stored units, and writes results, figure and report. */
export async function runReproduction(options: ReproductionOptions): Promise<Results> {
  const { slug, mode, moduleUrl, dataFolder, experiment } = options;
  const version = await codeVersion(moduleUrl);
  const results = await reproduce({
    slug,
    experiment,
    mode,
    executor: options.executor(version),
    store: fileStore(join(dataFolder, "units", slug, `${mode}-${version}`), options.onCorrupted),
    environment: thisEnvironment(),
    codeVersion: version,
    ...(options.seeds === undefined ? {} : { seeds: options.seeds }),
    ...(options.signal ? { signal: options.signal } : {}),
    ...(options.onEvent ? { onEvent: options.onEvent } : {}),
  });
  const files = reproductionFiles(dataFolder, slug, mode);
  // First, so that a figure that cannot be drawn costs no results.
  await writeResults(files.results, results);
  // Loaded when there is something to draw: a document outside a browser takes half a second to load.
  const { serverDrawing, toPng } = await import("./drawing.ts");
  const figure = drawFigure(experiment, results, serverDrawing());
  await writeAtomically(files.svg, figure);
  await writeAtomically(files.png, toPng(figure));
  await writeAtomically(files.report, renderReport(options.paper, results, figure));
  return results;
}
