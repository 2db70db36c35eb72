import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { UnitStore } from "../reproduce.ts";
import { CorruptedError, decode, encode, type Results, resultsSchema, unitResultSchema } from "../results.ts";
import { unitId } from "../units.ts";

/** Writes a file so that readers and a crash see the old content or the new, never a part. */
export async function writeAtomically(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * Keeps each finished unit in its own file under `folder`.
 *
 * @param onCorrupted told of a file that is not a unit's; the unit is run again and the file replaced
 */
export function fileStore(folder: string, onCorrupted: (path: string, reason: string) => void): UnitStore {
  const pathOf = (id: string) => join(folder, `${id}.json`);
  return {
    async load(id) {
      const json = await readOptional(pathOf(id));
      if (json === undefined) return undefined;
      try {
        const result = decode(unitResultSchema, json);
        if (unitId(result) !== id) throw new CorruptedError(`holds the unit ${unitId(result)}`);
        return result;
      } catch (error) {
        onCorrupted(pathOf(id), (error as Error).message);
        return undefined;
      }
    },
    save: (id, result) => writeAtomically(pathOf(id), encode(unitResultSchema, result as never)),
  };
}

/**
 * Reads a results file; `undefined` when there is none.
 *
 * @throws CorruptedError naming the file and the field.
 */
export async function readResults(path: string): Promise<Results | undefined> {
  const json = await readOptional(path);
  if (json === undefined) return undefined;
  try {
    return decode(resultsSchema, json);
  } catch (error) {
    throw new CorruptedError(`${path}: ${(error as Error).message}`);
  }
}

export async function writeResults(path: string, results: Results): Promise<void> {
  await writeAtomically(path, encode(resultsSchema, results, 1));
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
