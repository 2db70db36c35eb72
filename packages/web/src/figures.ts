import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { drawFigure, escapeHtml, type Results, type Verdict } from "@prior-art/lab";
import { writeAtomically } from "@prior-art/lab/node";
import type { AnyExperiment } from "@prior-art/toolkit/experiment";

/** Draws and keeps figures in the data folder: drawing outside a browser takes a noticeable part of a second. */
export interface Figures {
  /** SVG of a reproduction or a comparison. */
  figure(results: Results, load: () => Promise<AnyExperiment>): Promise<string>;
  /** A picture of 1200 × 630 for previews of links, PNG. */
  card(card: CardContent): Promise<Uint8Array>;
}

export interface CardContent {
  readonly title: string;
  readonly subtitle: string;
  readonly verdict: Verdict | null;
  /** SVG document shown at the right. */
  readonly figure: string | undefined;
}

export interface FigureSize {
  readonly width: number;
  readonly height: number;
}

/** Size that an SVG document says it has, in pixels, so that a page can keep the place free. */
export function sizeOfFigure(svg: string): FigureSize | null {
  const root = /^<svg[^>]*>/.exec(svg)?.[0] ?? "";
  const number = (name: string) => Number(new RegExp(`\\s${name}="([\\d.]+)"`).exec(root)?.[1]);
  const [width, height] = [number("width"), number("height")];
  return width > 0 && height > 0 ? { width, height } : null;
}

export function figuresIn(dataFolder: string): Figures {
  const folder = join(dataFolder, "figures");
  const running = new Map<string, Promise<Uint8Array>>();
  /** Makes a file once, also when many ask for it together. */
  const keep = (name: string, make: () => Promise<Uint8Array>): Promise<Uint8Array> => {
    const path = join(folder, name);
    let making = running.get(name);
    if (!making) {
      making = readFile(path)
        .catch(async () => {
          const content = await make();
          await writeAtomically(path, content);
          return content;
        })
        .finally(() => running.delete(name));
      running.set(name, making);
    }
    return making;
  };
  return {
    async figure(results, load) {
      const name = `${results.slug}-${digest(results.codeVersion, results.finishedAt, results.mode)}.svg`;
      const svg = await keep(name, async () => {
        const { serverDrawing } = await import("@prior-art/lab/drawing");
        return Buffer.from(drawFigure(await load(), results, serverDrawing()));
      });
      return Buffer.from(svg).toString("utf8");
    },
    card(card) {
      const name = `card-${digest(card.title, card.subtitle, String(card.verdict), card.figure ?? "")}.png`;
      return keep(name, async () => {
        const { toPng } = await import("@prior-art/lab/drawing");
        return toPng(cardSvg(card), 1);
      });
    },
  };
}

const digest = (...parts: readonly string[]) =>
  createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 16);

const WIDTH = 1200;
const HEIGHT = 630;
const VERDICT_COLORS = { reproduced: "#0b6e5d", partly: "#9a5b00", "not reproduced": "#a3322b" } as const;

function cardSvg({ title, subtitle, verdict, figure }: CardContent): string {
  const columns = figure ? 25 : 46;
  const lines = wrap(title, columns).slice(0, 6);
  const titleSpans = lines.map((line, i) => `<tspan x="64" y="${150 + 60 * i}">${escapeHtml(line)}</tspan>`);
  const below = 150 + 60 * lines.length;
  const picture = figure
    ? `<rect x="640" y="64" width="496" height="502" rx="12" fill="#fff"/>` +
      `<image x="656" y="80" width="464" height="470" preserveAspectRatio="xMidYMid meet" href="data:image/svg+xml;base64,${Buffer.from(figure).toString("base64")}"/>`
    : "";
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="DejaVu Sans">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#f7f5f0"/>
<rect width="12" height="${HEIGHT}" fill="#0b6e5d"/>
<text x="64" y="84" font-size="24" fill="#5b5850">Prior Art: papers that run</text>
<text font-size="42" font-weight="bold" fill="#1c1b19">${titleSpans.join("")}</text>
<text x="64" y="${below + 4}" font-size="24" fill="#5b5850">${escapeHtml(subtitle)}</text>
${verdict ? `<text x="64" y="580" font-size="32" font-weight="bold" fill="${VERDICT_COLORS[verdict]}">${verdict}</text>` : ""}
${picture}
</svg>`;
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < columns)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word.slice(0, columns));
  }
  return lines;
}
