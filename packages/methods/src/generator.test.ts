import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const script = fileURLToPath(new URL("../registry.mjs", import.meta.url));
let source: string;
beforeEach(() => {
  source = mkdtempSync(join(tmpdir(), "prior-art-registry-"));
});
afterEach(() => rmSync(source, { recursive: true }));

const generate = () => spawnSync(process.execPath, [script, source], { encoding: "utf8" });
const generated = () => readFileSync(join(source, "registry.generated.ts"), "utf8");

function addRoom(family: string, slug: string, paper: unknown, ...files: string[]): void {
  const folder = join(source, family, slug);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "paper.json"), typeof paper === "string" ? paper : JSON.stringify(paper));
  for (const file of files) writeFileSync(join(folder, file), "");
}

test("a room's experiment and method are registered when their files are there", () => {
  addRoom("optimizers", "adamw", { slug: "adamw", family: "optimizers" }, "method.ts", "experiment.ts");
  addRoom("optimizers", "later", { slug: "later", family: "optimizers" });
  writeFileSync(join(source, "optimizers", "task.ts"), "");
  expect(generate().status).toBe(0);
  expect(generated()).toContain('hasMethod: true, loadExperiment: experiments["adamw"]!');
  const experiments = readFileSync(join(source, "experiments.generated.ts"), "utf8");
  expect(experiments).toContain('"adamw": () => import("./optimizers/adamw/experiment.ts")');
  expect(generated()).toContain(
    '{ paper: {"slug":"later","family":"optimizers"}, hasMethod: false, loadExperiment: null }',
  );
  expect(experiments).toContain('"optimizers": () => import("./optimizers/task.ts")');
});

test("a room's contenders enter its family's shared task", () => {
  addRoom("optimizers", "adamw", { slug: "adamw", family: "optimizers" }, "contender.ts");
  addRoom("optimizers", "later", { slug: "later", family: "optimizers" });
  const path = join(source, "optimizers", "contenders.generated.ts");
  generate();
  expect(existsSync(path)).toBe(false);
  writeFileSync(join(source, "optimizers", "task.ts"), "");
  generate();
  const text = readFileSync(path, "utf8");
  expect(text).toContain('import room0 from "./adamw/contender.ts";');
  expect(text).toContain("{\n  ...room0,\n}");
});

test("nothing is written when nothing changed, so that builds stay incremental", () => {
  addRoom("optimizers", "adamw", { slug: "adamw", family: "optimizers" });
  generate();
  const before = statSync(join(source, "registry.generated.ts"), { bigint: true }).mtimeNs;
  generate();
  expect(statSync(join(source, "registry.generated.ts"), { bigint: true }).mtimeNs).toBe(before);
});

test("a paper.json that is not JSON, or in the wrong folder, stops the build by name", () => {
  addRoom("optimizers", "adamw", "{");
  const broken = generate();
  expect([broken.status, broken.stderr]).toEqual([
    1,
    expect.stringContaining(join("optimizers", "adamw", "paper.json")),
  ]);
  addRoom("optimizers", "adamw", { slug: "adam", family: "optimizers" });
  expect(generate().stderr).toMatch(/says optimizers\/adam, but its folder is optimizers\/adamw/);
});
