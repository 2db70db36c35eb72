import { readFile } from "node:fs/promises";
import { type ClaimResult, describeHyperparameters, type Results } from "@prior-art/lab";
import { type Standing, standing } from "@prior-art/lab/node";
import type { Paper } from "@prior-art/library";
import type { Room } from "@prior-art/methods";
import { roomFolder } from "@prior-art/methods/places";
import { mean } from "@prior-art/toolkit/stats";
import { bibtexEntry } from "./bibtex.ts";
import type { FigureSize } from "./figures.ts";
import { highlightCode, textWithFormulas } from "./markup.ts";

/** A claim of the paper with the tests that speak to it. */
export interface TestedClaim {
  readonly id: string;
  readonly text: string;
  readonly tests: readonly Omit<ClaimResult, "perSeed" | "of">[];
}

/** What a reproduction measured, as a table: one row for each arm, one column for each scalar metric. */
export interface MeasuredTable {
  readonly metrics: readonly string[];
  readonly rows: readonly {
    readonly label: string;
    readonly hyperparameters: string;
    readonly seeds: number;
    readonly diverged: number;
    /** Means over the seeds that finished; `null` where the arm has no such metric. */
    readonly means: readonly (number | null)[];
  }[];
}

/** Everything that a paper's page shows and that does not depend on who looks. */
export interface PaperPage {
  readonly paper: Paper;
  readonly summaryHtml: string;
  readonly standing: Standing | null;
  readonly claims: readonly TestedClaim[];
  readonly reproduction: {
    readonly finishedAt: string;
    readonly seconds: number;
    readonly seeds: number;
    readonly machine: string;
    /** `null` when the figure cannot be drawn. */
    readonly figure: FigureSize | null;
    readonly measured: MeasuredTable;
  } | null;
  readonly notes: readonly string[];
  readonly code: { readonly html: string; readonly importLine: string } | null;
  readonly runnable: boolean;
  readonly bibtex: string;
}

export async function paperPage(
  paper: Paper,
  room: Room | undefined,
  results: Results | undefined,
  figure: FigureSize | null,
): Promise<PaperPage> {
  const { notes } = room?.paper ?? {};
  return {
    paper,
    summaryHtml: textWithFormulas(paper.summary),
    standing: room ? standing(room, results) : null,
    claims: paper.claims.map(({ id, text }) => ({
      id,
      text,
      tests: (results?.claims ?? [])
        .filter((claim) => claim.of === id)
        .map(({ perSeed: _, of: __, ...test }) => test),
    })),
    reproduction: results
      ? {
          finishedAt: results.finishedAt,
          seconds: results.seconds,
          seeds: results.seeds.length,
          machine: `${results.environment.machine.cpu}, ${results.environment.machine.cores} cores`,
          figure,
          measured: measuredTable(results),
        }
      : null,
    notes: notes === undefined ? [] : typeof notes === "string" ? [notes] : notes,
    code: room?.hasMethod ? await methodCode(room) : null,
    runnable: room?.loadExperiment != null,
    bibtex: bibtexEntry(paper),
  };
}

async function methodCode(room: Room): Promise<PaperPage["code"]> {
  const { family, slug } = room.paper;
  const source = await readFile(new URL("method.ts", roomFolder(room)), "utf8");
  const exported = [...source.matchAll(/^export (?:async )?(?:function\*? |const )(\w+)/gm)].map(
    (m) => m[1]!,
  );
  return {
    html: highlightCode(source),
    importLine: `import { ${exported.slice(0, 4).join(", ")} } from "@prior-art/methods/${family}/${slug}";`,
  };
}

function measuredTable(results: Results): MeasuredTable {
  const finished = results.units.filter(({ status }) => status === "finished");
  const metrics = [...new Set(finished.flatMap(({ metrics }) => Object.keys(metrics)))].filter((name) =>
    finished.some((unit) => typeof unit.metrics[name] === "number"),
  );
  return {
    metrics,
    rows: results.arms.map(({ name, label, hyperparameters }) => {
      const units = finished.filter(({ arm }) => arm === name);
      return {
        label,
        hyperparameters: describeHyperparameters(hyperparameters),
        seeds: units.length,
        diverged: results.units.filter(({ arm, status }) => arm === name && status === "diverged").length,
        means: metrics.map((metric) => {
          const values = units.flatMap((unit) => {
            const value = unit.metrics[metric];
            return typeof value === "number" ? [value] : [];
          });
          return values.length ? mean(values) : null;
        }),
      };
    }),
  };
}
