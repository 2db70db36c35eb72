import { randomUUID } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const heldHere = new Set<string>();

/** The folder is open in another process. */
export class FolderInUseError extends Error {
  override readonly name = "FolderInUseError";
}

/** Milliseconds after which somebody who removes a dead one's lock must have died over it. */
const LONGEST_TAKEOVER = 5_000;

/**
 * Keeps a second process from opening the same embedded database, which would destroy it.
 *
 * @returns a function that gives the folder back
 * @throws FolderInUseError when a living process holds it; a dead one's lock is taken over
 */
export function lockFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "in-use-by");
  while (!create(file)) {
    if (isHeld(file))
      throw new FolderInUseError(
        `The library in ${folder} is open in another process: stop that one, or use a PostgreSQL server (DATABASE_URL)`,
      );
    removeDead(file);
  }
  heldHere.add(file);
  return () => {
    heldHere.delete(file);
    rmSync(file, { force: true });
  };
}

/** Puts the lock there with its content in one step; `false` when there is one. */
function create(file: string): boolean {
  const draft = `${file}.${randomUUID()}`;
  writeFileSync(draft, String(process.pid));
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Removes a dead process's lock. Only one process does so at a time and looks again before it does: another may have
 * taken the folder since.
 */
function removeDead(file: string): void {
  const guard = `${file}.takeover`;
  try {
    writeFileSync(guard, String(process.pid), { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    const since = statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - since > LONGEST_TAKEOVER) rmSync(guard, { force: true });
    // The other one needs an instant.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    return;
  }
  try {
    if (!isHeld(file)) rmSync(file, { force: true });
  } finally {
    rmSync(guard, { force: true });
  }
}

/** Whether the lock names a living process. */
function isHeld(file: string): boolean {
  let holder: number;
  try {
    holder = Number(readFileSync(file, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
  // After a restart in a container another program, even this one, may have the old number.
  if (holder === process.pid) return heldHere.has(file);
  if (!Number.isInteger(holder) || holder <= 0) return false;
  try {
    process.kill(holder, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
