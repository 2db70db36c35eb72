import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { AnyExperiment, FigureData, Metrics } from "@prior-art/toolkit/experiment";
import { JSDOM } from "jsdom";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import failing from "../fixtures/failing.ts";
import slow from "../fixtures/slow.ts";
import toy from "../fixtures/toy.ts";
import { drawFigure } from "../report/figure.ts";
import type { LabEvent } from "../reproduce.ts";
import type { Results } from "../results.ts";
import { serverDrawing, toPng } from "./drawing.ts";
import {
  codeVersion,
  readResults,
  reproductionFiles,
  runReproduction,
  threadPool,
  writeAtomically,
} from "./index.ts";

let dataFolder: string;
beforeEach(async () => {
  dataFolder = await mkdtemp(join(tmpdir(), "prior-art-lab-"));
});
afterEach(() => rm(dataFolder, { recursive: true, force: true }));

const built = (name: string) => new URL(`../../dist/fixtures/${name}.js`, import.meta.url);
const paper = {
  title: `Descent & "Momentum" <script>alert(1)</script>`,
  authors: ["A. <b>Uthor</b>"],
  year: 2020,
  summary: "Rolls </p><img src=x onerror=alert(1)> down.",
  arxiv: `"><script>alert(1)</script>`,
};

async function run(
  name: string,
  experiment: AnyExperiment,
  change: {
    workers?: number;
    mode?: "full" | "quick";
    signal?: AbortSignal;
    onEvent?: (event: LabEvent) => void;
  } = {},
): Promise<{ results: Results; corrupted: string[] }> {
  const { workers = 2, ...rest } = change;
  const pool = threadPool(workers);
  const corrupted: string[] = [];
  try {
    const results = await runReproduction({
      slug: name,
      paper,
      experiment,
      moduleUrl: built(name).href,
      mode: "full",
      executor: () => pool.executor(built(name).href),
      dataFolder,
      onCorrupted: (path) => corrupted.push(path),
      ...rest,
    });
    return { results, corrupted };
  } finally {
    await pool.close();
  }
}

const numbersOf = (results: Results) => ({
  claims: results.claims,
  units: results.units.map(({ seconds, ...unit }) => unit),
  tuning: results.tuning,
});

describe("on worker threads", () => {
  test("the same seeds give the same numbers whatever the number of workers", async () => {
    const one = await run("toy", toy, { workers: 1 });
    await rm(dataFolder, { recursive: true });
    const three = await run("toy", toy, { workers: 3 });
    expect(numbersOf(three.results)).toEqual(numbersOf(one.results));
  });

  test("results, figure and report are written, and read back as they were", async () => {
    const { results } = await run("toy", toy);
    const files = reproductionFiles(dataFolder, "toy", "full");
    expect(await readResults(files.results)).toEqual(results);
    expect((await readdir(files.folder)).sort()).toEqual([
      "figure.png",
      "figure.svg",
      "report.html",
      "results.json",
    ]);
    expect([...(await readFile(files.png)).subarray(0, 4)]).toEqual([0x89, 0x50, 0x4e, 0x47]);
  });

  test("a failing unit names its arm, seed and settings", async () => {
    await expect(run("failing", failing)).rejects.toThrow(
      /only, seed 1, width=4: shapes \[3\] and \[4\] do not match/,
    );
  });

  test("cancelling ends units that are running in threads", async () => {
    const cancel = new AbortController();
    const onEvent = (event: LabEvent) => event.type === "progress" && cancel.abort(new Error("enough"));
    const cancelled = run("slow", slow, { mode: "quick", signal: cancel.signal, onEvent });
    await expect(cancelled).rejects.toThrow("enough");
    await expect(readdir(join(dataFolder, "units"))).rejects.toThrow(/ENOENT/);
  });

  test("killed in the middle, it resumes without running a finished unit again", async () => {
    const first: string[] = [];
    for await (const line of createInterface({ input: start("3").stdout! })) first.push(line);
    const before = first.filter((line) => line.startsWith("ran"));
    expect(before).toHaveLength(3);
    expect(await readResults(reproductionFiles(dataFolder, "slow", "full").results)).toBeUndefined();

    const second: string[] = [];
    for await (const line of createInterface({ input: start().stdout! })) second.push(line);
    const stored = second.filter((line) => line.startsWith("stored")).map((line) => line.split(" ")[1]);
    const ran = second.filter((line) => line.startsWith("ran")).map((line) => line.split(" ")[1]);
    expect(stored).toEqual(expect.arrayContaining(before.map((line) => line.split(" ")[1])));
    expect([...stored, ...ran].map(Number).sort((a, b) => a - b)).toEqual([...Array(12).keys()]);
    expect(second.join()).not.toMatch(/corrupted/);
    const resumed = await readResults(reproductionFiles(dataFolder, "slow", "full").results);
    await rm(dataFolder, { recursive: true });
    expect(numbersOf(resumed!)).toEqual(numbersOf((await run("slow", slow)).results));
  });

  /** @param units after how many it dies */
  function start(...units: string[]): ChildProcess {
    return spawn(process.execPath, [fileURLToPath(built("killed")), dataFolder, ...units], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  }
});

describe("the code version", () => {
  const write = (name: string, code: string) => writeFile(join(dataFolder, name), code);
  const version = () => codeVersion(pathToFileURL(join(dataFolder, "experiment.mjs")).href);

  test("changes with the module and what it imports, and with nothing else", async () => {
    await write("experiment.mjs", 'import { x } from "./method.mjs"; export default x;');
    await write("method.mjs", "export const x = 1;");
    await write("unrelated.mjs", "export const y = 1;");
    const first = await version();
    await write("unrelated.mjs", "export const y = 2;");
    expect(await version()).toBe(first);
    await write("method.mjs", "export const x = 2;");
    expect(await version()).not.toBe(first);
  });
});

describe("files", () => {
  test("a corrupted unit file is named and made again", async () => {
    const { results } = await run("toy", toy);
    const [version] = await readdir(join(dataFolder, "units", "toy"));
    const folder = join(dataFolder, "units", "toy", version!);
    const [one, other, ...rest] = (await readdir(folder)).sort();
    await writeFile(join(folder, one!), "{ half a fi");
    await writeFile(join(folder, other!), await readFile(join(folder, rest[0]!)));
    const again = await run("toy", toy);
    expect(again.corrupted.sort()).toEqual([join(folder, one!), join(folder, other!)].sort());
    expect(numbersOf(again.results)).toEqual(numbersOf(results));
    expect((await run("toy", toy)).corrupted).toEqual([]);
  });

  test("a corrupted results file is named with its field", async () => {
    await run("toy", toy, { mode: "quick" });
    const { results: path } = reproductionFiles(dataFolder, "toy", "quick");
    await writeFile(path, (await readFile(path, "utf8")).replace('"format": 1', '"format": 7'));
    await expect(readResults(path)).rejects.toThrow(`${path}: format`);
    await run("toy", toy, { mode: "quick" });
    expect((await readResults(path))!.format).toBe(1);
  });

  test("a write that fails leaves the old file and no litter", async () => {
    const path = join(dataFolder, "results.json");
    await writeAtomically(path, "old");
    const unreadable = { toString: () => { throw new Error("no"); } } as unknown as string; // biome-ignore format: one odd value
    await expect(writeAtomically(path, unreadable)).rejects.toThrow();
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(dataFolder)).toEqual(["results.json"]);
  });
});

describe("figure and report", () => {
  test("the figure is one well-formed SVG with its panel's title and legend", async () => {
    await run("toy", toy, { mode: "quick" });
    const svg = await readFile(reproductionFiles(dataFolder, "toy", "quick").svg, "utf8");
    const { document } = new JSDOM(svg, { contentType: "image/svg+xml" }).window;
    expect(document.documentElement.localName).toBe("svg");
    const texts = [...document.querySelectorAll("text")].map((node) => node.textContent);
    expect(texts).toEqual(expect.arrayContaining(["Final loss", "momentum", "plain", "reckless"]));
    expect(document.querySelectorAll("circle").length).toBe(3 + 3 + 2);
  });

  test("a continuous legend shows the colours of the cells along the scale", async () => {
    const { results } = await run("slow", slow);
    const values = [0.001, 0.01, 0.1, 1, 10];
    const heatMap: AnyExperiment = Object.assign({ ...slow } as AnyExperiment, {
      figure: ({ Plot }: FigureData<string, Metrics>) => ({
        options: {
          color: { type: "log", scheme: "viridis", legend: true, label: "loss" },
          marks: [Plot.cell(values, { x: (value) => value, fill: (value) => value })],
        },
      }),
    });
    const { document } = new JSDOM(drawFigure(heatMap, results, serverDrawing())).window;
    const colors = (parent: Element) =>
      [...parent.querySelectorAll("rect")].map((rect) => rect.getAttribute("fill"));
    const [legend, cells] = [...document.querySelectorAll("g")].filter((group) =>
      group.querySelector("rect"),
    );
    expect(colors(legend!)).toHaveLength(5);
    expect(colors(legend!)).toEqual(colors(cells!));
    expect([...legend!.querySelectorAll("text")].map((text) => text.textContent)).toEqual(
      ["loss", ...values].map(String),
    );
  });

  test("long titles and legends break into lines within their panel, and the panels stand in line", async () => {
    const { results } = await run("slow", slow);
    const names = Array.from({ length: 9 }, (_, i) => `an arm with a long name, ${i}`);
    const title = "A title that says so much that it needs a second line of the panel";
    const figure: AnyExperiment = Object.assign({ ...slow } as AnyExperiment, {
      figure: ({ Plot }: FigureData<string, Metrics>) => [
        {
          title,
          options: {
            width: 300,
            color: { legend: true, domain: names },
            marks: [Plot.dot(names, { x: names, fill: names })],
          },
        },
        { options: { width: 200, marks: [Plot.dot([1, 2])] } },
      ],
    });
    const { document } = new JSDOM(drawFigure(figure, results, serverDrawing())).window;
    const [first, second] = [...document.querySelectorAll("svg > svg")];
    expect(first!.getAttribute("y")).toBe(second!.getAttribute("y"));
    const top = Number(first!.getAttribute("y"));
    const number = (node: Element, name: string): number => Number(node.getAttribute(name));
    const titles = [...document.querySelectorAll("body > svg > text")];
    expect(titles.map((node) => node.textContent).join(" ")).toBe(title);
    expect(titles).toHaveLength(2);
    const labels = [...document.querySelectorAll("body > svg > g > text")];
    expect(labels.map((node) => node.textContent)).toEqual(names);
    for (const label of labels) {
      expect(number(label, "x") + 6 * label.textContent!.length).toBeLessThanOrEqual(300);
      expect(number(titles.at(-1)!, "y") + number(label, "y")).toBeLessThan(top);
    }
    const places = labels.map((label) => `${label.getAttribute("x")} ${label.getAttribute("y")}`);
    expect(new Set(places).size).toBe(names.length);
  });

  test("a logarithmic axis has plain numbers, or the format that is asked for", async () => {
    const { results } = await run("slow", slow);
    const ticks = (tickFormat?: string): string[] => {
      const figure: AnyExperiment = Object.assign({ ...slow } as AnyExperiment, {
        figure: ({ Plot }: FigureData<string, Metrics>) => ({
          options: {
            x: { type: "log", domain: [1e-8, 1e4], ...(tickFormat && { tickFormat }) },
            marks: [Plot.dotX([0.02, 3])],
          },
        }),
      });
      const { document } = new JSDOM(drawFigure(figure, results, serverDrawing())).window;
      return [...document.querySelectorAll("[aria-label='x-axis tick label'] text")].map(
        (node) => node.textContent!,
      );
    };
    expect(ticks()).toEqual(expect.arrayContaining(["1e-6", "0.01", "1", "10,000"]));
    expect(ticks(".1e")).toEqual(expect.arrayContaining(["1.0e-6", "1.0e-2"]));
  });

  test("a figure that cannot be drawn is an error, but the results are kept", async () => {
    const figure = () => {
      throw new Error("no such column");
    };
    const broken = Object.assign({ ...toy } as AnyExperiment, { figure });
    await expect(run("toy", broken, { mode: "quick" })).rejects.toThrow("no such column");
    expect((await readResults(reproductionFiles(dataFolder, "toy", "quick").results))!.slug).toBe("toy");
  });

  test("text is drawn without any font of the machine", () => {
    const svg = (content: string) =>
      `<svg xmlns="http://www.w3.org/2000/svg" width="80" height="20" font-family="No Such Font">${content}</svg>`;
    expect(toPng(svg('<text x="2" y="15">loss</text>'))).not.toEqual(toPng(svg("")));
  });

  test("an experiment without a figure gets its metrics as dots", async () => {
    await run("slow", slow);
    const svg = await readFile(reproductionFiles(dataFolder, "slow", "full").svg, "utf8");
    expect(svg.match(/<circle/g)).toHaveLength(12);
  });

  test("the report runs no foreign markup and shows every claim and seed", async () => {
    const { results } = await run("toy", toy, { mode: "quick" });
    const html = await readFile(reproductionFiles(dataFolder, "toy", "quick").report, "utf8");
    const { document } = new JSDOM(html).window;
    expect(document.querySelectorAll("script, img, b, iframe").length).toBe(0);
    expect(document.title).toBe(paper.title);
    expect(document.body.textContent).toContain(paper.summary);
    expect(document.querySelector("figure svg")).not.toBeNull();
    const [claims, seeds] = [...document.querySelectorAll("tbody")];
    expect(claims!.rows.length).toBe(results.claims.length);
    expect(seeds!.rows.length).toBe(results.units.length);
    expect(seeds!.textContent).toContain("diverged: the position left the plot at step 1 (stepSize=0.01");
  });
});
