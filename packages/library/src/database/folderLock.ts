import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const heldHere = new Set<string>();

/** The folder is open in another process. */
export class FolderInUseError extends Error {
  override readonly name = "FolderInUseError";
}

/**
 * Keeps a second process from opening the same embedded database, which would destroy it.
 *
 * @returns a function that gives the folder back
 * @throws FolderInUseError when a living process holds it; a dead one's lock is taken over
 */
export function lockFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "in-use-by");
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(file, String(process.pid), { flag: "wx" });
      heldHere.add(file);
      return () => {
        heldHere.delete(file);
        rmSync(file, { force: true });
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = Number(readFileSync(file, "utf8"));
    if (isAlive(holder, file)) break;
    rmSync(file, { force: true });
  }
  throw new FolderInUseError(
    `The library in ${folder} is open in another process: stop that one, or use a PostgreSQL server (DATABASE_URL)`,
  );
}

/** After a restart in a container another program, even this one, may have the old number. */
function isAlive(processId: number, file: string): boolean {
  if (processId === process.pid) return heldHere.has(file);
  if (!Number.isInteger(processId) || processId <= 0) return false;
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
