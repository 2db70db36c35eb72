import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { benchTable, runSuites } from "./bench.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prior-art-bench-"));
});
afterEach(() => rm(folder, { recursive: true }));

const suite = (name: string, rows: unknown) =>
  writeFile(join(folder, `${name}.mjs`), `export const run = async () => (${JSON.stringify(rows)});`);
const row = (peerName: string, ratio: number) => ({
  suite: "a",
  case: "matmul",
  ours: 1,
  peer: ratio,
  peerName,
  ratio,
});

test("runs the named suites, or all of them in order", async () => {
  await suite("b", [row("jax-js", 4)]);
  await suite("a", [row("PyTorch", 2)]);
  expect(await runSuites(folder, ["b"], true)).toEqual([row("jax-js", 4)]);
  expect((await runSuites(folder, [], true)).map(({ peerName }) => peerName)).toEqual(["PyTorch", "jax-js"]);
});

test("an unknown suite names those there are", async () => {
  await suite("engine", []);
  await expect(runSuites(folder, ["engin"], false)).rejects.toThrow(
    "there is no suite engin; suites: engine",
  );
  await expect(runSuites(join(folder, "none"), [], false)).rejects.toThrow("suites: none so far");
});

test("a row that is not one is refused by its field", async () => {
  await suite("engine", [{ ...row("PyTorch", 2), ratio: "fast" }]);
  await expect(runSuites(folder, ["engine"], false)).rejects.toThrow(
    /suite engine returned a bad row: 0.ratio/,
  );
});

test("the table ends with the geometric mean against each peer", () => {
  const table = benchTable([row("PyTorch", 1), row("PyTorch", 4), row("jax-js", 3)]);
  expect(table).toMatch(/matmul +1 ms +PyTorch +4 ms +4\.00×/);
  expect(table).toContain("geometric mean against PyTorch: 2.00×");
  expect(table).toContain("geometric mean against jax-js: 3.00×");
});
