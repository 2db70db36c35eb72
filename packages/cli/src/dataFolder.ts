import { randomUUID } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Option } from "commander";
import { UsageError } from "./usage.ts";

/** `--data DIR`, else the environment's PRIOR_ART_DATA, else `./data`. */
export function dataOption(): Option {
  return new Option("--data <dir>", "folder for runs, results and reports")
    .env("PRIOR_ART_DATA")
    .default("data");
}

/**
 * Makes the folder if need be and proves that it can be written to.
 *
 * @throws UsageError when it cannot.
 */
export async function requireWritable(folder: string): Promise<string> {
  const path = resolve(folder);
  const probe = join(path, `.writable-${randomUUID()}`);
  try {
    await mkdir(path, { recursive: true });
    await writeFile(probe, "");
    await rm(probe);
  } catch (error) {
    const { code = "unknown reason" } = error as NodeJS.ErrnoException;
    throw new UsageError(`cannot write to the data folder ${path} (${code}); choose another with --data DIR`);
  }
  return path;
}
