import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("the documents with results and leaderboards say what the lab kept", () => {
  const script = fileURLToPath(new URL("../../../docs/generate.mjs", import.meta.url));
  const { stderr, status } = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

test.each(["RELIABILITY.md", "SECURITY.md"])("every test that %s names exists", (name) => {
  const root = new URL("../../../", import.meta.url);
  const text = readFileSync(new URL(`docs/${name}`, root), "utf8").replaceAll(/\s+/g, " ");
  const named = [...text.matchAll(/`([\w/.-]+\.test\.ts)`: "([^"]+)"/g)];
  expect(named.length).toBeGreaterThan(10);
  for (const [, file, title] of named) {
    const code = readFileSync(new URL(`packages/${file}`, root), "utf8").replaceAll(/\s+/g, " ");
    const quoted = [
      `"${title}"`,
      `\`${title}\``,
      `("${title} (`,
      title!.replace(/ \(embedded, outbox\)$/, ""),
    ];
    expect(
      quoted.some((found) => code.includes(found)),
      `${file}: ${title}`,
    ).toBe(true);
  }
});
