import { families, findRoom, type Room, rooms } from "@prior-art/methods";
import { InvalidArgumentError } from "commander";
import { distance } from "fastest-levenshtein";

/** The command was used wrongly: one line with the reason and the mend, exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly exitCode = 2;
}

/** Parses an option's value as a whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`It must be a whole number of at least ${least}.`);
    }
    return value;
  };
}

/**
 * The room of a slug.
 *
 * @throws UsageError suggesting the nearest slugs.
 */
export function requireRoom(slug: string): Room {
  const room = findRoom(slug);
  if (room) return room;
  const known = rooms.map(({ paper }) => paper.slug);
  throw new UsageError(`there is no paper "${slug}"; ${suggest(slug, known)}`);
}

/** @throws UsageError suggesting the nearest families. */
export function requireFamily(family: string): string {
  if (families.includes(family)) return family;
  throw new UsageError(`there is no family "${family}"; ${suggest(family, families)}`);
}

function suggest(wanted: string, known: readonly string[]): string {
  const text = wanted.toLowerCase();
  const score = (name: string) =>
    name.includes(text) ? 0 : distance(text, name) / Math.max(text.length, name.length);
  const nearest = known
    .map((name) => ({ name, score: score(name) }))
    .sort((a, b) => a.score - b.score)
    .slice(0, 3);
  return `did you mean ${nearest.map(({ name }) => name).join(", ")}?`;
}
