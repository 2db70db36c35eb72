import type * as PlotModule from "@observablehq/plot";
import type { AnyExperiment, FigureData, Metrics, Panel } from "@prior-art/toolkit/experiment";
import type { Results } from "../results.ts";

const fontFamily = "DejaVu Sans, Verdana, system-ui, sans-serif";
const gap = 16;
const title = { fontSize: 13, characterWidth: 7.8, lineHeight: 18, below: 4 };
const legend = { characterWidth: 6.2, swatch: 12, afterSwatch: 4, between: 12, lineHeight: 18, below: 4 };

/** What drawing needs from its surroundings: Observable Plot and a document (the browser's, or jsdom's). */
export interface Drawing {
  readonly Plot: typeof PlotModule;
  readonly document: Document;
}

/**
 * Draws an experiment's figure as one standalone SVG document, panels side by side.
 *
 * An experiment without a `figure` gets its scalar metrics as dots by arm.
 */
export function drawFigure(experiment: AnyExperiment, results: Results, drawing: Drawing): string {
  const data = figureData(results, drawing.Plot);
  const drawn = experiment.figure ? experiment.figure(data) : dotsByArm(data);
  const panels: readonly Panel[] = Array.isArray(drawn) ? drawn : [drawn as Panel];
  return joinPanels(panels, drawing);
}

export function figureData(results: Results, Plot: typeof PlotModule): FigureData<string, Metrics> {
  const finished = results.units.filter((unit) => unit.status === "finished");
  return {
    Plot,
    mode: results.mode,
    arms: results.arms.map(({ name, label }) => ({ name, label })),
    units: finished.map(({ arm, seed, metrics }) => ({ arm, seed, metrics })),
    diverged: results.units
      .filter((unit) => unit.status === "diverged")
      .map(({ arm, seed }) => ({ arm, seed })),
    tuning: results.tuning,
  };
}

function dotsByArm({ Plot, arms, units }: FigureData<string, Metrics>): Panel[] {
  const labels = new Map(arms.map(({ name, label }) => [name, label]));
  const scalars = Object.entries(units[0]?.metrics ?? {}).filter(([, value]) => typeof value === "number");
  return scalars.slice(0, 3).map(([metric]) => ({
    title: metric,
    options: {
      width: 320,
      height: 60 + 28 * arms.length,
      marginLeft: 120,
      x: { label: metric, grid: true, nice: true },
      y: { label: null, domain: arms.map(({ label }) => label) },
      marks: [
        Plot.dot(units, {
          x: (unit) => unit.metrics[metric],
          y: (unit) => labels.get(unit.arm),
          fillOpacity: 0.5,
        }),
        Plot.tickX(
          units,
          Plot.groupY(
            { x: "mean" },
            { x: (unit) => unit.metrics[metric], y: (unit) => labels.get(unit.arm) },
          ),
        ),
      ],
    },
  }));
}

/**
 * Plot draws its legends as HTML, which an SVG file cannot hold; this draws ordinal ones as SVG above the panel. Titles and
 * legends break into lines within their panel's width, and all panels begin below the tallest of them.
 */
function joinPanels(panels: readonly Panel[], { Plot, document }: Drawing): string {
  const root = element(document, "svg", { xmlns: "http://www.w3.org/2000/svg", "font-family": fontFamily });
  const drawn = panels.map(({ title: heading, options }) => {
    const { color } = options;
    const withoutLegend = color ? { ...options, color: { ...color, legend: false } } : options;
    const plot = Plot.plot({ ...plainTicks(withoutLegend), document });
    const svg = plot.localName === "svg" ? plot : plot.querySelector("svg")!;
    const width = Number(svg.getAttribute("width"));
    const lines = heading ? wrapped(heading, Math.floor(width / title.characterWidth)) : [];
    const entries = color?.legend
      ? legendEntries((plot as PlotModule.Plot).scale("color"), color.label ?? "")
      : [];
    return { svg, width, lines, rows: legendRows(entries, width) };
  });
  const top =
    gap +
    Math.max(0, ...drawn.map(({ lines, rows }) => titleHeight(lines.length) + legendHeight(rows.length)));
  let x = gap;
  let bottom = 0;
  for (const { svg, width, lines, rows } of drawn) {
    for (const [i, line] of lines.entries()) {
      const attributes = { x, y: gap + 12 + i * title.lineHeight, "font-size": title.fontSize };
      const text = element(document, "text", { ...attributes, "font-weight": "bold" });
      text.textContent = line;
      root.append(text);
    }
    if (rows.length > 0) root.append(drawLegend(document, rows, x, gap + titleHeight(lines.length)));
    svg.setAttribute("x", String(x));
    svg.setAttribute("y", String(top));
    svg.setAttribute("font-family", fontFamily);
    root.append(svg);
    bottom = Math.max(bottom, top + Number(svg.getAttribute("height")));
    x += width + gap;
  }
  const [width, height] = [Math.max(x, 2 * gap), bottom + gap];
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) {
    root.setAttribute(name, String(value));
  }
  const background = element(document, "rect", { width, height, fill: "white" });
  root.prepend(background);
  return root.outerHTML;
}

const titleHeight = (lines: number): number => (lines > 0 ? lines * title.lineHeight + title.below : 0);
const legendHeight = (rows: number): number => (rows > 0 ? rows * legend.lineHeight + legend.below : 0);

/** Words in lines of at most `length` characters, a longer word on a line of its own. */
function wrapped(text: string, length: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= length) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** Numbers on logarithmic axes without the prefixes of units (Plot writes a loss of 0.02 as 20m), unless a format is given. */
function plainTicks(options: PlotModule.PlotOptions): PlotModule.PlotOptions {
  const plain = (scale: PlotModule.ScaleOptions | undefined) =>
    scale?.type === "log" && scale.tickFormat === undefined ? { ...scale, tickFormat: plainNumber } : scale;
  const [x, y] = [plain(options.x), plain(options.y)];
  return { ...options, ...(x && { x }), ...(y && { y }) };
}

/** 0.002, 20,000, 1e-7. */
function plainNumber(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return String(Number(value.toPrecision(3)).toExponential());
  return value.toLocaleString("en-US", { maximumSignificantDigits: 3 });
}

interface LegendEntry {
  readonly text: string;
  /** None for the legend's own label. */
  readonly fill?: string;
}

function legendEntries(scale: PlotModule.Scale | undefined, label: string): LegendEntry[] {
  const values = legendValues(scale).map((value) => ({
    text: typeof value === "number" ? String(Number(value.toPrecision(3))) : String(value),
    fill: String(scale!.apply(value)),
  }));
  return label ? [{ text: label }, ...values] : values;
}

const entryWidth = ({ text, fill }: LegendEntry): number =>
  (fill === undefined ? 0 : legend.swatch + legend.afterSwatch) + legend.characterWidth * text.length;

/** Rows no wider than the panel, and what is left of each entry. */
function legendRows(entries: readonly LegendEntry[], width: number): (LegendEntry & { left: number })[][] {
  const rows: (LegendEntry & { left: number })[][] = [];
  let left = 0;
  for (const entry of entries) {
    if (rows.length === 0 || (left > 0 && left + entryWidth(entry) > width)) {
      rows.push([]);
      left = 0;
    }
    rows.at(-1)!.push({ ...entry, left });
    left += entryWidth(entry) + legend.between;
  }
  return rows;
}

function drawLegend(
  document: Document,
  rows: readonly (readonly (LegendEntry & { left: number })[])[],
  x: number,
  y: number,
): Element {
  const group = element(document, "g", { transform: `translate(${x}, ${y})`, "font-size": 10 });
  for (const [i, row] of rows.entries())
    for (const { text, fill, left } of row) {
      const top = i * legend.lineHeight;
      const { swatch } = legend;
      if (fill !== undefined)
        group.append(element(document, "rect", { x: left, y: top, width: swatch, height: swatch, fill }));
      const start = fill === undefined ? left : left + swatch + legend.afterSwatch;
      const label = element(document, "text", { x: start, y: top + 10 });
      label.textContent = text;
      group.append(label);
    }
  return group;
}

/** Every value of an ordinal scale; five along a continuous one, evenly as the scale sees it. */
function legendValues(scale: PlotModule.Scale | undefined): unknown[] {
  const domain = [...(scale?.domain ?? [])];
  if (!scale?.interpolate) return domain;
  const [low, high] = [Number(domain[0]), Number(domain.at(-1))];
  const along =
    scale.type === "log" ? (t: number) => low * (high / low) ** t : (t: number) => low + t * (high - low);
  return [0, 0.25, 0.5, 0.75, 1].map(along);
}

function element(
  document: Document,
  name: string,
  attributes: Readonly<Record<string, string | number>>,
): Element {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}
