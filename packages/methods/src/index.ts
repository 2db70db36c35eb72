import { experiments, tasks } from "./experiments.ts";
import { rooms } from "./registry.generated.ts";
import type { Room } from "./rooms.ts";

export { type Paper, paperSchema } from "./paper.ts";
export type { Experiments, LoadExperiment, Room } from "./rooms.ts";
export { experiments, rooms, tasks };

const bySlug = new Map(rooms.map((room) => [room.paper.slug, room]));

export function findRoom(slug: string): Room | undefined {
  return bySlug.get(slug);
}

/** Names of all families, in alphabetical order. */
export const families: readonly string[] = [...new Set(rooms.map(({ paper }) => paper.family))].sort();
