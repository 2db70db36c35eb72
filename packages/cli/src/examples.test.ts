import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = new URL("../../../", import.meta.url);
const examples = ["README.md", "docs/optimizers.md"].flatMap((document) => {
  const text = readFileSync(new URL(document, root), "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(
    ([, code], i) => [`${document}, example ${i + 1}`, code!] as const,
  );
});

test("there are examples to run", () => {
  expect(examples.length).toBeGreaterThanOrEqual(4);
});

test.each(examples)("%s runs and prints finite numbers", (name, code) => {
  const folder = fileURLToPath(new URL("../dist/examples/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  const file = `${folder}${name.replaceAll(/\W+/g, "-")}.mjs`;
  writeFileSync(file, code);
  const { stdout, stderr, status } = spawnSync(process.execPath, [file], { encoding: "utf8" });
  rmSync(file);
  expect(status, stderr).toBe(0);
  expect(stdout).toMatch(/\d/);
  expect(stdout).not.toMatch(/NaN|Infinity/);
});
