import { escapeHtml, type Results } from "@prior-art/lab";
import { standing } from "@prior-art/lab/node";
import type { Room } from "@prior-art/methods";
import { figures } from "../columns.ts";

export const stylesheet = `
:root { color-scheme: light dark; font: 17px/1.55 system-ui, sans-serif }
body { max-width: 56rem; margin: 0 auto; padding: 1rem }
h1 { line-height: 1.2 } h2 { margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid #8884 }
img { max-width: 100%; background: white }
.muted { opacity: .7 }
`;

/** The overview: every paper by family, with its standing. */
export function collectionPage(
  entries: readonly { readonly room: Room; readonly results: Results | undefined }[],
): string {
  const families = [...new Set(entries.map(({ room }) => room.paper.family))];
  const sections = families.map((family) => {
    const rows = entries
      .filter(({ room }) => room.paper.family === family)
      .map(
        ({ room, results }) =>
          `<tr><td><a href="/papers/${room.paper.slug}">${escapeHtml(room.paper.title)}</a></td>` +
          `<td>${room.paper.year}</td><td>${standing(room, results)}</td></tr>`,
      );
    return `<h2>${escapeHtml(family)}</h2><table><thead><tr><th>Paper</th><th>Year</th><th>Verdict</th></tr></thead><tbody>${rows.join("\n")}</tbody></table>`;
  });
  return page(
    "Prior Art: papers that run",
    `<h1>Prior Art: papers that run</h1><p>${entries.length} papers</p>${sections.join("\n")}`,
  );
}

/** One paper: what it says, how its claims fared, and links to what the reproduction made. */
export function paperPage(
  room: Room,
  results: Results | undefined,
  made: { readonly figure: boolean; readonly report: boolean },
): string {
  const { paper } = room;
  const folder = `/papers/${paper.slug}`;
  const links = [
    paper.arxiv &&
      `<a href="https://arxiv.org/abs/${escapeHtml(paper.arxiv)}">arXiv:${escapeHtml(paper.arxiv)}</a>`,
    paper.code && `<a href="${escapeHtml(paper.code)}">code</a>`,
    made.report && `<a href="${folder}/report.html">report</a>`,
  ].filter(Boolean);
  const claims = paper.claims.map(({ id, text }) => {
    const tested = results?.claims.filter((claim) => claim.of === id) ?? [];
    const outcome = tested.map(
      (claim) =>
        `${claim.verdict}: ${escapeHtml(claim.statement)}, ${figures(claim.effect)} (95% ${figures(claim.interval.low)} … ${figures(claim.interval.high)})`,
    );
    return `<tr><td>${escapeHtml(text)}</td><td>${outcome.join("<br>") || '<span class="muted">not tested yet</span>'}</td></tr>`;
  });
  return page(
    paper.title,
    `<p><a href="/">All papers</a> / ${escapeHtml(paper.family)}</p>
<h1>${escapeHtml(paper.title)}</h1>
<p>${escapeHtml(paper.authors.join(", "))} (${paper.year})${links.length ? ` · ${links.join(" · ")}` : ""}</p>
<p>${escapeHtml(paper.summary)}</p>
<p>Reproduction: <strong>${standing(room, results)}</strong></p>
${made.figure ? `<p><img src="${folder}/figure.svg" alt="Figure of the reproduction"></p>` : ""}
<h2>Claims</h2>
<table><thead><tr><th>Claim</th><th>How it fared</th></tr></thead><tbody>${claims.join("\n")}</tbody></table>
<h2>Use it</h2>
${
  room.hasMethod
    ? `<pre><code>import { … } from &quot;@prior-art/methods/${paper.family}/${paper.slug}&quot;;</code></pre>`
    : "<p>The method is not implemented yet.</p>"
}`,
  );
}

export function messagePage(title: string, message: string): string {
  return page(title, `<h1>${escapeHtml(title)}</h1><p>${escapeHtml(message)} <a href="/">All papers</a></p>`);
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<link rel="stylesheet" href="/style.css">
<body>
${body}
</body>
</html>
`;
}
