import { short } from "../claims/verdict.ts";
import type { Results } from "../results.ts";
import { describeHyperparameters } from "../units.ts";

/** What a report says about the paper besides its results. */
export interface ReportedPaper {
  readonly title: string;
  readonly authors: readonly string[];
  readonly year: number;
  readonly summary: string;
  readonly arxiv: string | null;
}

/** The five characters that end text or an attribute in HTML. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/**
 * One HTML file with everything in it: no script, no network.
 *
 * @param figure the SVG document that `drawFigure` made
 */
export function renderReport(paper: ReportedPaper, results: Results, figure: string): string {
  const { machine, versions } = results.environment;
  const authors = `${paper.authors.join(", ")} (${paper.year})`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(paper.title)}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: .9rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8884 }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 1rem 0; overflow-x: auto }
.verdict { font-weight: bold; white-space: nowrap }
</style>
<h1>${escapeHtml(paper.title)}</h1>
<p>${escapeHtml(authors)}${arxivLink(paper.arxiv)}</p>
<p>${escapeHtml(paper.summary)}</p>
<p>Verdict: <span class="verdict">${results.verdict ?? "no claims"}</span>${
    results.mode === "quick" ? " (quick settings: a look, not a reproduction)" : ""
  }</p>
<figure>${figure}</figure>
<h2>Claims</h2>
${table(
  ["Claim", "Verdict", "Effect", "95% interval", "p (exact, one-sided)", "Why"],
  results.claims.map((claim) => [
    `${escapeHtml(claim.statement)}<br><small>${escapeHtml(claim.quantity)}</small>`,
    `<span class="verdict">${claim.verdict}</span>`,
    number(claim.effect),
    `${number(claim.interval.low)} … ${number(claim.interval.high)}`,
    claim.pValue === undefined ? "" : number(claim.pValue),
    escapeHtml(claim.reason),
  ]),
)}
<h2>Every seed</h2>
${seedTable(results)}
<h2>Arms</h2>
${table(
  ["Arm", "Hyperparameters", "Candidates tried", "of them diverged"],
  results.arms.map((arm) => {
    const tried = results.tuning.filter((candidate) => candidate.arm === arm.name);
    return [
      escapeHtml(arm.label),
      escapeHtml(describeHyperparameters(arm.hyperparameters) || "none"),
      String(tried.length),
      String(tried.filter((candidate) => candidate.score === null).length),
    ];
  }),
)}
<h2>How it was made</h2>
${table(
  ["What", "Value"],
  [
    ["Finished", results.finishedAt],
    ["Computing time", `${short(results.seconds)} s`],
    [
      "Machine",
      escapeHtml(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.platform}`),
    ],
    [
      "Versions",
      escapeHtml(
        Object.entries(versions)
          .map((entry) => entry.join(" "))
          .join(", "),
      ),
    ],
    ["Settings", escapeHtml(JSON.stringify(results.settings))],
    ["Code", escapeHtml(results.codeVersion)],
  ],
)}
</html>
`;
}

function seedTable(results: Results): string {
  const names = [...new Set(results.units.flatMap((unit) => Object.keys(unit.metrics)))];
  const scalars = names.filter((name) =>
    results.units.some((unit) => typeof unit.metrics[name] === "number"),
  );
  return table(
    ["Arm", "Seed", ...scalars.map(escapeHtml), "Seconds", "State"],
    results.units.map((unit) => [
      escapeHtml(unit.arm),
      String(unit.seed),
      ...scalars.map((name) => {
        const value = unit.metrics[name];
        return typeof value === "number" ? number(value) : "";
      }),
      number(unit.seconds),
      unit.status === "finished"
        ? "finished"
        : escapeHtml(
            `diverged: ${unit.reason ?? ""} (${describeHyperparameters(unit.hyperparameters) || "no hyperparameters"})`,
          ),
    ]),
  );
}

/** Cells are HTML already; cells that look like numbers are set as numbers. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (html: string) =>
    /^[-−]?[\d.]/.test(html) ? `<td class="number">${html}</td>` : `<td>${html}</td>`;
  const body = rows.map((row) => `<tr>${row.map(cell).join("")}</tr>`).join("\n");
  return `<table><thead><tr>${head.map((title) => `<th>${title}</th>`).join("")}</tr></thead>\n<tbody>${body}</tbody></table>`;
}

function number(value: number): string {
  return Number.isFinite(value) ? short(value, 4) : escapeHtml(String(value)).replace("Infinity", "∞");
}

function arxivLink(id: string | null): string {
  if (!id || !/^[\w./-]+$/.test(id)) return "";
  return ` · <a href="https://arxiv.org/abs/${id}">arXiv:${id}</a>`;
}
