/**
 * Builds the site into build/ when something that it is made from is newer than the last build; --force builds anyway.
 * Built files get a gzip and a Brotli copy beside them, so that the server need not compress.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
const stamp = join(here, "build", ".built");
const sources = [
  ...["app", "src", "vite.config.ts", "svelte.config.js", "package.json"].map((name) => join(here, name)),
  ...["tensor", "toolkit", "methods", "lab"].map((name) => join(here, "..", name, "dist")),
];

if (process.argv.includes("--force") || !existsSync(stamp) || newest(sources) > statSync(stamp).mtimeMs) {
  process.chdir(here);
  rmSync(join(here, "build"), { recursive: true, force: true });
  await build({ logLevel: "warn" });
  compress(join(here, "build", "client"));
  writeFileSync(stamp, "");
}

function newest(paths) {
  const times = paths.flatMap((path) =>
    statSync(path).isDirectory()
      ? readdirSync(path, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile() && !/\.test\.|\.d\.ts|\.map$|tsbuildinfo/.test(entry.name))
          .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs)
      : [statSync(path).mtimeMs],
  );
  return Math.max(...times);
}

function compress(folder) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !/\.(js|css|json|svg|webmanifest|wasm)$/.test(path)) continue;
    const { size } = statSync(path);
    if (size < 1024) continue;
    const content = readFileSync(path);
    // The best compression takes minutes for the runtime's megabytes, which are only loaded by a run.
    const large = size > 1 << 20;
    writeFileSync(`${path}.gz`, gzipSync(content, { level: large ? 4 : 9 }));
    const quality = { [constants.BROTLI_PARAM_QUALITY]: 10 };
    if (!large) writeFileSync(`${path}.br`, brotliCompressSync(content, { params: quality }));
  }
}
