import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { arch, availableParallelism, cpus, platform, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { init, parse } from "es-module-lexer";
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
 * Digest of the code an experiment's numbers come from: its module, every module of this workspace that it imports,
 * and the versions of the packages that those import.
 *
 * Stored units of another version are not taken up again.
 */
export async function codeVersion(moduleUrl: string): Promise<string> {
  await init;
  const digests = new Map<string, string>();
  const packages = new Set<string>();
  const visit = (path: string): void => {
    if (digests.has(path)) return;
    const code = readFileSync(path, "utf8");
    digests.set(path, createHash("sha256").update(code).digest("hex"));
    const resolver = createRequire(path);
    for (const { n: specifier } of parse(code)[0]) {
      if (specifier?.startsWith(".")) visit(join(dirname(path), specifier));
      else if (specifier?.startsWith("@prior-art/")) visit(resolver.resolve(specifier));
      else if (specifier && !isBuiltin(specifier)) packages.add(versionOf(specifier, resolver));
    }
  };
  visit(fileURLToPath(moduleUrl));
  // Contents without paths, so that the same code has the same version wherever it lies.
  const parts = [...digests.values(), ...packages].sort();
  return createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 16);
}

function versionOf(specifier: string, resolver: NodeJS.Require): string {
  const root = packageRoot(specifier, resolver);
  return root
    ? `${specifier}@${JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version}`
    : specifier;
}

function packageRoot(name: string, resolver: NodeJS.Require = require): string | undefined {
  let folder: string;
  try {
    folder = dirname(resolver.resolve(name));
  } catch {
    return undefined;
  }
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
