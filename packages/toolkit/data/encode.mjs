/**
 * Writes src/data/sets/<name>.ts from data/<name>.csv.gz: the bytes as base64 in a module, because a module is the
 * one kind of file that Node and every browser bundler load alike. Run after changing a data file.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

for (const file of readdirSync(import.meta.dirname).filter((name) => name.endsWith(".csv.gz"))) {
  const name = file.slice(0, -".csv.gz".length);
  const base64 = readFileSync(new URL(file, import.meta.url)).toString("base64");
  const source = `/** ${file} in base64; written by data/encode.mjs. */\nexport default "${base64}";\n`;
  writeFileSync(new URL(`../src/data/sets/${name}.ts`, import.meta.url), source);
}
