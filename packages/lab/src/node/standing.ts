import { stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Room } from "@prior-art/methods";
import { leaderboardFile, roomFolder } from "@prior-art/methods/places";
import { CorruptedError, type Results } from "../results.ts";
import { readResults } from "./files.ts";
import { reproductionFiles } from "./reproduction.ts";

/** What can be said of a room: its verdict, or why there is none. */
export type Standing =
  | "reproduced"
  | "partly"
  | "not reproduced"
  | "no verdict"
  | "not run yet"
  | "not implemented yet";

export const standings = ["reproduced", "partly", "not reproduced"] as const;

export function savedResultsPath(room: Room): string {
  return join(fileURLToPath(roomFolder(room)), "results.json");
}

/**
 * The newest full results of a room: those kept with the paper or those of a reproduction on this machine.
 *
 * @param onCorrupted told of a file that is not what the lab wrote; it counts as absent
 */
export function roomResults(
  room: Room,
  dataFolder: string,
  onCorrupted: (message: string) => void,
): Promise<Results | undefined> {
  const { slug } = room.paper;
  const paths = [savedResultsPath(room), reproductionFiles(dataFolder, slug, "full").results];
  return newestResults(paths, (reason) =>
    onCorrupted(`${reason}; prior-art reproduce ${slug} makes it again`),
  );
}

/** The newest full comparison of a family on its shared task: kept with the family, or made on this machine. */
export function familyResults(
  family: string,
  dataFolder: string,
  onCorrupted: (message: string) => void,
): Promise<Results | undefined> {
  const made = reproductionFiles(dataFolder, `compare-${family}`, "full").results;
  return newestResults([fileURLToPath(leaderboardFile(family)), made], (reason) =>
    onCorrupted(`${reason}; prior-art compare ${family} makes it again`),
  );
}

/** What files held when they were read last: checking a large one takes longer than many requests may. */
const read = new Map<string, { readonly stamp: string; readonly results: Results | undefined }>();

/** The results in a file, which is only read again when it has changed. @throws CorruptedError */
async function currentResults(path: string): Promise<Results | undefined> {
  const found = await stat(path).catch(() => undefined);
  const stamp = found ? `${found.mtimeMs} ${found.size} ${found.ino}` : "none";
  const known = read.get(path);
  if (known?.stamp === stamp) return known.results;
  const results = await readResults(path);
  read.set(path, { stamp, results });
  return results;
}

async function newestResults(
  paths: readonly string[],
  onCorrupted: (reason: string) => void,
): Promise<Results | undefined> {
  const found: Results[] = [];
  for (const path of paths) {
    try {
      const results = await currentResults(path);
      if (results) found.push(results);
    } catch (error) {
      if (!(error instanceof CorruptedError)) throw error;
      onCorrupted(error.message);
    }
  }
  return found.sort((a, b) => Date.parse(b.finishedAt) - Date.parse(a.finishedAt))[0];
}

export function standing(room: Room, results: Results | undefined): Standing {
  if (results) return results.verdict ?? "no verdict";
  return room.loadExperiment ? "not run yet" : "not implemented yet";
}
