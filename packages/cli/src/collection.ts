import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CorruptedError, type Results } from "@prior-art/lab";
import { readResults, reproductionFiles } from "@prior-art/lab/node";
import type { Room } from "@prior-art/methods";
import { roomFolder } from "@prior-art/methods/places";

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
export async function roomResults(
  room: Room,
  dataFolder: string,
  onCorrupted: (message: string) => void,
): Promise<Results | undefined> {
  const paths = [savedResultsPath(room), reproductionFiles(dataFolder, room.paper.slug, "full").results];
  const found: Results[] = [];
  for (const path of paths) {
    try {
      const results = await readResults(path);
      if (results) found.push(results);
    } catch (error) {
      if (!(error instanceof CorruptedError)) throw error;
      onCorrupted(`${error.message}; prior-art reproduce ${room.paper.slug} makes it again`);
    }
  }
  return found.sort((a, b) => Date.parse(b.finishedAt) - Date.parse(a.finishedAt))[0];
}

export function standing(room: Room, results: Results | undefined): Standing {
  if (results) return results.verdict ?? "no verdict";
  return room.loadExperiment ? "not run yet" : "not implemented yet";
}

export function notice(message: string): void {
  process.stderr.write(`prior-art: ${message}\n`);
}
