import { type ChildProcess, execFile, spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { reproductionFiles } from "@prior-art/lab/node";
import { families, rooms } from "@prior-art/methods";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

const bin = fileURLToPath(new URL("../bin/prior-art.js", import.meta.url));
const fixture = (name: string) =>
  fileURLToPath(new URL(`../../lab/dist/fixtures/${name}.js`, import.meta.url));
const unfinished = rooms.find(({ loadExperiment }) => !loadExperiment);
const paper = rooms[0]!.paper;

let dataFolder: string;
beforeEach(async () => {
  dataFolder = await mkdtemp(join(tmpdir(), "prior-art-cli-"));
});
afterEach(() => rm(dataFolder, { recursive: true, force: true }));

interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function priorArt(...args: string[]): Promise<Ran> {
  const env = { ...process.env, PRIOR_ART_DATA: dataFolder };
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ status: (error?.code as number | undefined) ?? 0, stdout, stderr });
    });
  });
}

/** Wrong usage: status 2, nothing on standard output, one line of reason. */
function expectUsageError(ran: Ran, reason: RegExp): void {
  expect(ran).toMatchObject({ status: 2, stdout: "" });
  expect(ran.stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(ran.stderr).toMatch(reason);
}

/** Leaves the toy's results in the data folder as if they were the paper's, from a far future. */
async function pretendReproduced(slug: string): Promise<void> {
  await priorArt("reproduce", fixture("toy"), "--json");
  const from = reproductionFiles(dataFolder, "toy", "full");
  const to = reproductionFiles(dataFolder, slug, "full");
  await mkdir(to.folder, { recursive: true });
  const results = JSON.parse(await readFile(from.results, "utf8"));
  await writeFile(to.results, JSON.stringify({ ...results, slug, finishedAt: "2999-01-01T00:00:00.000Z" }));
  for (const file of ["svg", "png", "report"] as const) await copyFile(from[file], to[file]);
}

describe("list and show", () => {
  test("--json is one document with every paper, and --family narrows it", async () => {
    const all = JSON.parse((await priorArt("list", "--json")).stdout);
    expect(all).toHaveLength(rooms.length);
    expect(all[0]).toMatchObject({ slug: paper.slug, family: paper.family, title: paper.title });
    const some = JSON.parse((await priorArt("list", "--json", "--family", families[1]!)).stdout);
    expect(new Set(some.map((entry: { family: string }) => entry.family))).toEqual(new Set([families[1]]));
  });

  test("a reproduction's verdict shows in list and show, and --verdict finds it", async () => {
    await pretendReproduced(paper.slug);
    const partly = JSON.parse((await priorArt("list", "--json", "--verdict", "partly")).stdout);
    expect(partly.map((entry: { slug: string }) => entry.slug)).toContain(paper.slug);
    const shown = JSON.parse((await priorArt("show", paper.slug, "--json")).stdout);
    expect(shown.results.claims).toHaveLength(5);
    expect((await priorArt("show", paper.slug)).stdout).toMatch(
      /reproduced: Momentum ends below plain descent/,
    );
  });

  test("a corrupted results.json is named and counts as absent", async () => {
    const { results, folder } = reproductionFiles(dataFolder, paper.slug, "full");
    await mkdir(folder, { recursive: true });
    await writeFile(results, "{}");
    const ran = await priorArt("list", "--json");
    expect(ran.status).toBe(0);
    expect(JSON.parse(ran.stdout)).toHaveLength(rooms.length);
    expect(ran.stderr).toContain(results);
    expect(ran.stderr).toContain(`prior-art reproduce ${paper.slug} makes it again`);
  });

  test.runIf(unfinished)("a paper without a method says so", async () => {
    const { slug } = unfinished!.paper;
    expect((await priorArt("show", slug)).stdout).toMatch(/Reproduction: not implemented yet/);
    expectUsageError(await priorArt("reproduce", slug), /is not implemented yet; prior-art list shows/);
  });

  test("a reader that stops early is no error", async () => {
    const child = spawn(process.execPath, [bin, "list", "--json"], { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.once("data", () => child.stdout.destroy());
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    expect(await exitOf(child)).toBe(0);
    expect(stderr).toBe("");
  });
});

describe("wrong usage is one line and status 2", () => {
  test.each([
    [
      "an unknown slug suggests the nearest",
      ["show", "decoupled-weight-decai"],
      /did you mean decoupled-weight-decay,/,
    ],
    ["an unknown family suggests the nearest", ["list", "--family", "optimizer"], /did you mean optimizers,/],
    [
      "an unknown verdict",
      ["list", "--verdict", "maybe"],
      /Allowed choices are reproduced, partly, not reproduced/,
    ],
    ["an unknown command", ["reprodce"], /unknown command 'reprodce' \(Did you mean reproduce\?\)/],
    ["an unknown option", ["list", "--famly", "x"], /unknown option '--famly'/],
    [
      "no seeds",
      ["reproduce", "x", "--seeds", "0"],
      /'0' is invalid. It must be a whole number of at least 1/,
    ],
    ["half a seed", ["reproduce", "x", "--seeds", "1.5"], /'1.5' is invalid/],
    ["negative workers", ["reproduce", "x", "--workers", "-2"], /'-2' is invalid/],
    ["an unknown engine", ["reproduce", "x", "--engine", "cloud"], /Allowed choices are local/],
    ["nothing to reproduce", ["reproduce"], /name papers, or give --family F, or give --all/],
    ["two ways to choose", ["reproduce", "x", "--all"], /name papers, or give --family F, or give --all/],
    [
      "saving a quick look",
      ["reproduce", fixture("toy"), "--save"],
      /--save is for papers of the collection/,
    ],
    ["a file that is not there", ["reproduce", "./nowhere.js"], /there is no file .*nowhere.js/],
    [
      "an unwritable data folder",
      ["reproduce", fixture("toy"), "--data", "/dev/null/data"],
      /choose another with --data/,
    ],
    [
      "saving a quick comparison",
      ["compare", families[0]!, "--quick", "--save"],
      /leave out --quick|no shared task/,
    ],
    ["an unknown model", ["pretrain", "no-such-model"], /there is no model "no-such-model"; models: /],
    ["a port out of range", ["serve", "--port", "70000"], /there is no port 70000/],
    ["an unknown suite", ["bench", "no-such-suite"], /there is no suite no-such-suite; suites: /],
  ])("%s", async (_, args, reason) => {
    expectUsageError(await priorArt(...args), reason);
  });

  test("no command prints the usage", async () => {
    const ran = await priorArt();
    expect(ran.status).toBe(2);
    expect(ran.stderr).toMatch(/^Usage: prior-art/);
  });

  test("help and version succeed", async () => {
    expect(await priorArt("reproduce", "--help")).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/--quick/),
    });
    expect(await priorArt("--version")).toMatchObject({ status: 0, stdout: "0.1.0\n" });
  });
});

describe("reproduce", () => {
  test("--json is one document on standard output, progress goes to standard error", async () => {
    const ran = await priorArt("reproduce", fixture("toy"), "--json", "--workers", "2");
    expect(ran.status).toBe(0);
    const [result, ...others] = JSON.parse(ran.stdout);
    expect(others).toEqual([]);
    expect(result).toMatchObject({
      slug: "toy",
      mode: "full",
      verdict: "partly",
      seconds: expect.any(Number),
    });
    expect(result.claims[0]).toMatchObject({
      id: "faster",
      verdict: "reproduced",
      interval: [expect.any(Number), expect.any(Number)],
    });
    expect(result.diverged).toHaveLength(4);
    expect(ran.stderr).toMatch(/^toy: 10%, .* left\n/);
  });

  test("prints the claims with their verdicts and where the report is", async () => {
    const ran = await priorArt("reproduce", fixture("toy"), "--quick", "--seeds", "6");
    expect(ran.stdout).toMatch(/toy: partly, quick settings, 6 seeds, .*3 units diverged/);
    expect(ran.stdout).toMatch(/not reproduced +-[\d.]+ .*Plain descent ends below momentum/);
    const report = /report: (.*)/.exec(ran.stdout)![1]!;
    expect(await readFile(report, "utf8")).toMatch(/^<!doctype html>/);
  });

  test("a claim that does not hold is status 1", async () => {
    const path = join(dataFolder, "wrong.mjs");
    const module = "export default { settings: { full: {}, quick: {} }, seeds: { full: 2, quick: 1 }, arms: { a: { label: 'A' } }," +
      "async *run({ seed }) { return { x: seed } }," +
      "claims: [{ kind: 'deterministic', id: 'x', statement: 'x is 9', arm: 'a', metric: 'x', expected: 9, tolerance: 0.5 }] }"; // biome-ignore format: one module
    await writeFile(path, module);
    const ran = await priorArt("reproduce", path, "--json");
    expect(ran.status).toBe(1);
    expect(JSON.parse(ran.stdout)[0].claims).toEqual([
      { id: "x", verdict: "not reproduced", effect: 9, interval: [8, 9] },
    ]);
  });

  test("a failing experiment is status 1 with its unit named, and the others still run", async () => {
    const ran = await priorArt("reproduce", fixture("failing"), fixture("toy"), "--json");
    expect(ran.status).toBe(1);
    const [failed, toy] = JSON.parse(ran.stdout);
    expect(failed.error).toBe("only, seed 1, width=4: shapes [3] and [4] do not match");
    expect(toy.verdict).toBe("partly");
    // One progress over both: what the first leaves undone counts as over.
    expect(ran.stderr).toMatch(/^\[2\/2\] toy: 60%, /m);
    expect(ran.stderr.match(/%, /g)!.length).toBeLessThanOrEqual(10);
    expect(ran.stderr).toContain("prior-art: failing failed: only, seed 1");
  });

  test("Ctrl-C stops it, says how to go on, and leaves no result", async () => {
    const child = start("reproduce", fixture("slow"), "--workers", "2");
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stderr! })) {
      lines.push(line);
      if (lines.length === 1) child.kill("SIGINT");
    }
    expect(await exitOf(child)).toBe(1);
    expect(lines.at(-1)).toBe("prior-art: stopped; the same command goes on from here");
    const again = await priorArt("reproduce", fixture("slow"), "--json");
    expect(JSON.parse(again.stdout)[0].verdict).toBe("reproduced");
  });
});

test("doctor finds the engine working and the data folder writable", async () => {
  const ran = await priorArt("doctor", "--json");
  expect(ran.status).toBe(0);
  const states = Object.fromEntries(
    JSON.parse(ran.stdout).map((finding: { name: string; state: string }) => [finding.name, finding.state]),
  );
  expect(states).toMatchObject({
    "Node.js": "ok",
    "tensor engine": "ok",
    "data folder": "ok",
    collection: "ok",
  });
  expect((await priorArt("doctor", "--data", "/dev/null/data")).status).toBe(1);
});

test("a backup moves a library to another folder, and a full one is not overwritten by accident", async () => {
  await priorArt("search", "anything");
  const file = join(dataFolder, "library.backup");
  const saved = await priorArt("backup", file);
  expect(saved).toMatchObject({ status: 0, stdout: expect.stringMatching(/^192 papers, 0 votes/) });
  expectUsageError(await priorArt("restore", file), /already has rows .*--replace/);
  const moved = await priorArt("restore", file, "--data", join(dataFolder, "other"));
  expect(moved).toMatchObject({ status: 0, stdout: "192 papers, 0 votes, 0 subscriptions restored\n" });
  expectUsageError(await priorArt("restore", `${file}.missing`, "--replace"), /There is no file/);
}, 600_000);

describe("serve", () => {
  let site: ChildProcess;
  let base: string;
  let served: string;
  beforeAll(async () => {
    served = await mkdtemp(join(tmpdir(), "prior-art-site-"));
    dataFolder = served;
    await pretendReproduced(paper.slug);
    site = start("serve", "--port", "0");
    for await (const line of createInterface({ input: site.stderr! })) {
      base = /http:\/\/\S+/.exec(line)?.[0] ?? "";
      if (base) break;
    }
  });
  afterAll(async () => {
    site.kill("SIGTERM");
    expect(await exitOf(site)).toBe(0);
    await rm(served, { recursive: true });
  });

  test("serves pages and the API under a strict content policy", async () => {
    const response = await fetch(base);
    expect(response.headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; .*script-src 'self' 'sha256-/,
    );
    expect(await response.text()).toContain("Papers that run");
    const { papers } = await (await fetch(`${base}api/papers?limit=100`)).json();
    expect(papers).toHaveLength(100);
  });

  test("a paper's page shows what a reproduction on this machine found", async () => {
    const html = await (await fetch(`${base}papers/${paper.slug}`)).text();
    expect(html).toMatch(/class="verdict partly[^>]*>.*?partly/s);
    const report = await fetch(`${base}papers/${paper.slug}/report.html`);
    expect(await report.text()).toMatch(/<h2>Claims<\/h2>/);
  });

  test("a port that is taken is wrong usage", async () => {
    expectUsageError(
      await priorArt("serve", "--port", new URL(base).port),
      /is taken; choose another with --port/,
    );
  });
});

function start(...args: string[]): ChildProcess {
  const env = { ...process.env, PRIOR_ART_DATA: dataFolder };
  return spawn(process.execPath, [bin, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
}

function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once("exit", resolve));
}
