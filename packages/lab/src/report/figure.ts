import type * as PlotModule from "@observablehq/plot";
import type { AnyExperiment, FigureData, Metrics, Panel } from "@prior-art/toolkit/experiment";
import type { Results } from "../results.ts";

const fontFamily = "DejaVu Sans, Verdana, system-ui, sans-serif";
const gap = 16;
const titleHeight = 22;
const legendHeight = 22;

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

/** Plot draws its legends as HTML, which an SVG file cannot hold; this draws ordinal ones as SVG above the panel. */
function joinPanels(panels: readonly Panel[], { Plot, document }: Drawing): string {
  const root = element(document, "svg", { xmlns: "http://www.w3.org/2000/svg", "font-family": fontFamily });
  let x = gap;
  let bottom = 0;
  for (const { title, options } of panels) {
    const { color } = options;
    const withoutLegend = color ? { ...options, color: { ...color, legend: false } } : options;
    const plot = Plot.plot({ ...withoutLegend, document });
    const svg = plot.localName === "svg" ? plot : plot.querySelector("svg")!;
    const width = Number(svg.getAttribute("width"));
    let y = gap;
    if (title) {
      const heading = element(document, "text", { x, y: y + 12, "font-size": 13, "font-weight": "bold" });
      heading.textContent = title;
      root.append(heading);
      y += titleHeight;
    }
    if (color?.legend) {
      const scale = (plot as PlotModule.Plot).scale("color");
      root.append(legend(document, color.label ?? "", scale, x, y));
      y += legendHeight;
    }
    svg.setAttribute("x", String(x));
    svg.setAttribute("y", String(y));
    svg.setAttribute("font-family", fontFamily);
    root.append(svg);
    bottom = Math.max(bottom, y + Number(svg.getAttribute("height")));
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

function legend(
  document: Document,
  label: string,
  scale: PlotModule.Scale | undefined,
  x: number,
  y: number,
): Element {
  const group = element(document, "g", { transform: `translate(${x}, ${y})`, "font-size": 10 });
  let left = 0;
  const write = (content: string) => {
    const text = element(document, "text", { x: left, y: 10 });
    text.textContent = content;
    group.append(text);
    left += 12 + 6.2 * content.length;
  };
  if (label) write(label);
  for (const value of legendValues(scale)) {
    group.append(
      element(document, "rect", { x: left, width: 12, height: 12, fill: String(scale!.apply(value)) }),
    );
    left += 16;
    write(typeof value === "number" ? String(Number(value.toPrecision(3))) : String(value));
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
