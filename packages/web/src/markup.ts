import { escapeHtml } from "@prior-art/lab";
import hljs from "highlight.js/lib/core";
import typescript from "highlight.js/lib/languages/typescript";
import katex from "katex";

hljs.registerLanguage("typescript", typescript);

/** Program text as HTML: escaped, with classes for what is a keyword, a text, a comment. */
export function highlightCode(code: string): string {
  return hljs.highlight(code, { language: "typescript" }).value;
}

/** `$…$` and `\(…\)` of at most 1,000 characters, neither empty nor money. */
const FORMULA = /\$(?!\s)([^$\n]{1,1000}?)(?<!\s)\$(?!\d)|\\\(([^\n]{1,1000}?)\\\)/g;

/** Plain text as HTML, with its LaTeX formulas as MathML; what is no LaTeX stays as it was typed. */
export function textWithFormulas(text: string): string {
  let html = "";
  let position = 0;
  for (const found of text.matchAll(FORMULA)) {
    html += escapeHtml(text.slice(position, found.index));
    html += formula(found[1] ?? found[2] ?? "") ?? escapeHtml(found[0]);
    position = found.index + found[0].length;
  }
  return html + escapeHtml(text.slice(position));
}

/** MathML needs neither styles nor fonts from us. `undefined` when it is no LaTeX. */
function formula(tex: string): string | undefined {
  try {
    return katex.renderToString(tex, {
      output: "mathml",
      throwOnError: true,
      trust: false,
      strict: "ignore",
      maxExpand: 100,
      maxSize: 10,
    });
  } catch {
    return undefined;
  }
}
