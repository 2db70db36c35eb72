import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, availableParallelism, cpus, platform, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Environment } from "../results.ts";

const require = createRequire(import.meta.url);

/** Describes the machine and the versions that numbers depend on. */
export function thisEnvironment(): Environment {
  const versions: Record<string, string> = { node: process.versions.node };
  for (const name of ["@prior-art/lab", "onnxruntime-node"]) {
    const root = packageRoot(name);
    if (root) versions[name] = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
  }
  return {
    machine: {
      cpu: cpus()[0]?.model.trim() ?? "unknown",
      cores: availableParallelism(),
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      platform: `${platform()} ${arch()}`,
    },
    versions,
  };
}

/**
 * Digest of the code an experiment's numbers come from: the module's folder, the engine and the toolkit.
 *
 * Stored units of another version are not taken up again.
 */
export function codeVersion(moduleUrl: string): string {
  const hash = createHash("sha256");
  const folders = [dirname(fileURLToPath(moduleUrl))];
  for (const name of ["@prior-art/tensor", "@prior-art/toolkit"]) {
    const root = packageRoot(name);
    if (root) folders.push(join(root, "dist"));
  }
  for (const folder of folders) {
    const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
    const code = names.filter((name) => /\.[cm]?js$/.test(name) && !/\.test\.[cm]?js$/.test(name));
    for (const name of code.sort())
      hash
        .update(name)
        .update("\0")
        .update(readFileSync(join(folder, name)));
  }
  return hash.digest("hex").slice(0, 16);
}

function packageRoot(name: string): string | undefined {
  let folder: string;
  try {
    folder = dirname(require.resolve(name));
  } catch {
    return undefined;
  }
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
