import type { AnyExperiment } from "@prior-art/toolkit/experiment";
import { type ClaimResult, short } from "../claims/verdict.ts";
import { byProblem, leaderboard } from "../leaderboard.ts";
import type { Results } from "../results.ts";
import type { ReportedPaper } from "./html.ts";

/** A paper with its last full reproduction. */
export interface ReproducedPaper {
  readonly paper: ReportedPaper & { readonly slug: string; readonly family: string };
  readonly results: Results;
}

/** A family with the last full comparison on its shared task. */
export interface ComparedFamily {
  readonly family: string;
  readonly experiment: AnyExperiment;
  readonly results: Results;
}

const VERDICTS = ["reproduced", "partly", "not reproduced"] as const;

/** Markdown with every reproduction's verdicts, effects and intervals. */
export function resultsDocument(papers: readonly ReproducedPaper[]): string {
  const count = (verdict: string) => papers.filter(({ results }) => results.verdict === verdict).length;
  const overview = papers.map(({ paper, results }) => [
    `[${paper.slug}](#${paper.slug})`,
    paper.family,
    results.verdict ?? "no claims",
    ...VERDICTS.map((verdict) => String(results.claims.filter((claim) => claim.verdict === verdict).length)),
    String(results.seeds.length),
    minutes(results.seconds),
  ]);
  return document([
    "# Results",
    "Written by `npm run docs` from the `results.json` of each paper, which `prior-art reproduce <paper> --save` writes; " +
      "never by hand. [How verdicts are made, and how far the intervals can be trusted](../packages/lab/README.md#claims).",
    `${papers.length} papers: ${VERDICTS.map((verdict) => `${count(verdict)} ${verdict}`).join(", ")}. The next three ` +
      "columns count claims by verdict; computing time is of all units, on one core each.",
    table(["paper", "family", "verdict", ...VERDICTS, "seeds", "computing time"], overview),
    ...papers.flatMap(({ paper, results }) => [
      `## ${paper.slug}`,
      `${paper.title} (${paper.year})${paper.arxiv ? `, [arXiv:${paper.arxiv}](https://arxiv.org/abs/${paper.arxiv})` : ""}. ` +
        `${results.seeds.length} seeds, ${results.environment.machine.cpu}, ${results.finishedAt.slice(0, 10)}.`,
      table(["claim", "verdict", "measured", "effect", "95% interval", "p"], results.claims.map(claimRow)),
      ...divergedNote(results),
    ]),
  ]);
}

/** Markdown with the leaderboard of each family's shared task. */
export function leaderboardsDocument(families: readonly ComparedFamily[]): string {
  return document([
    "# Leaderboards",
    "Written by `npm run docs` from each family's `leaderboard.json`, which `prior-art compare <family> --save` writes. " +
      "Every method with something to tune had the same budget of candidates (or all of a smaller grid), on seeds of their own; the " +
      "numbers are means over the test seeds with bootstrap 95% intervals. All methods met the same seeds, with what is alike in " +
      "them, so that intervals of two methods that overlap don't say that the two are equally good.",
    ...families.flatMap(({ family, experiment, results }) => {
      const { metric, goal, also = [] } = experiment.leaderboard!;
      const boards = byProblem(leaderboard(experiment, results)).flatMap(({ problem, rows }) => [
        ...(problem === undefined ? [] : [`### ${problem}`]),
        table(
          ["", "method", metric, "95% interval", ...also, ""],
          rows.map((row, rank) => [
            String(rank + 1),
            row.label,
            short(row.mean),
            intervalText(row.interval),
            ...also.map(
              (other: string) =>
                `${short(row.also[other]!.mean)} (${intervalText(row.also[other]!.interval)})`,
            ),
            row.diverged ? `${row.diverged} of ${row.seeds + row.diverged} seeds diverged` : "",
          ]),
        ),
      ]);
      return [
        `## ${family}`,
        `${metric}, ${goal === "minimize" ? "lower" : "higher"} is better; ${results.seeds.length} seeds, ` +
          `${results.environment.machine.cpu}, ${results.finishedAt.slice(0, 10)}.`,
        ...boards,
      ];
    }),
  ]);
}

function claimRow(claim: ClaimResult): string[] {
  return [
    claim.statement,
    claim.verdict,
    claim.quantity,
    short(claim.effect),
    intervalText(claim.interval),
    claim.pValue === undefined ? "" : short(claim.pValue),
  ];
}

function divergedNote({ units }: Results): string[] {
  const diverged = units.filter(({ status }) => status === "diverged");
  if (diverged.length === 0) return [];
  const arms = [...new Set(diverged.map(({ arm }) => arm))];
  return [
    `Diverged: ${arms.map((arm) => `${arm} on ${diverged.filter((unit) => unit.arm === arm).length} seeds`).join(", ")}.`,
  ];
}

const intervalText = ({ low, high }: { readonly low: number; readonly high: number }) =>
  `${short(low)} … ${short(high)}`;

const minutes = (seconds: number) =>
  seconds < 90 ? `${Math.round(seconds)} s` : `${short(seconds / 60)} min`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

const document = (parts: readonly string[]) => `${parts.join("\n\n")}\n`;
