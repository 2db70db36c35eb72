import type { Room } from "./rooms.ts";

/** The room's folder among the sources, where the lab keeps `results.json`. */
export function roomFolder({ paper }: Pick<Room, "paper">): URL {
  return new URL(`../src/${paper.family}/${paper.slug}/`, import.meta.url);
}

/** The built experiment, as worker threads import it. */
export function experimentModule({ paper }: Pick<Room, "paper">): URL {
  return new URL(`../dist/${paper.family}/${paper.slug}/experiment.js`, import.meta.url);
}

/** Where the lab keeps the last full comparison of a family. */
export function leaderboardFile(family: string): URL {
  return new URL(`../src/${family}/leaderboard.json`, import.meta.url);
}

/** The built shared task of a family. */
export function taskModule(family: string): URL {
  return new URL(`../dist/${family}/task.js`, import.meta.url);
}
