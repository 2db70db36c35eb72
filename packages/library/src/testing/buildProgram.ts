import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

/**
 * Bundles a TypeScript program so that a plain Node process, which a test may kill, can run it.
 *
 * @returns its path, below this package so that its dependencies are found, and how to remove it
 */
export async function buildProgram(entry: URL): Promise<{ path: string; remove: () => void }> {
  const parent = fileURLToPath(new URL("../../dist/", import.meta.url));
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, "program-"));
  await build({
    configFile: false,
    logLevel: "silent",
    build: {
      ssr: fileURLToPath(entry),
      outDir: folder,
      target: "node20",
      rollupOptions: { output: { entryFileNames: "program.mjs" } },
    },
  });
  return {
    path: join(folder, "program.mjs"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
