import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { families, findRoom, paperSchema, rooms } from "./index.ts";
import { roomFolder } from "./places.ts";

const folders = readdirSync(new URL(".", import.meta.url), { withFileTypes: true, recursive: true })
  .filter((entry) => entry.name === "paper.json")
  .map((entry) => entry.parentPath.split(/[/\\]/).slice(-2));

describe("the registry", () => {
  test("has one room for each folder with a paper.json", () => {
    expect(rooms.map(({ paper }) => `${paper.family}/${paper.slug}`).sort()).toEqual(
      folders.map((parts) => parts.join("/")).sort(),
    );
    expect(new Set(rooms.map(({ paper }) => paper.slug)).size).toBe(rooms.length);
  });

  test("groups the 192 built-in papers in 16 families", () => {
    expect(rooms).toHaveLength(192);
    expect(families).toHaveLength(16);
  });

  test("finds a room by its slug", () => {
    expect(findRoom("decoupled-weight-decay")!.paper.family).toBe("optimizers");
    expect(findRoom("no-such-paper")).toBeUndefined();
  });
});

describe("paper.json has the fields of a paper", () => {
  test.each(rooms.map((room) => [room.paper.slug, room] as const))("%s", (_, room) => {
    const file = JSON.parse(readFileSync(new URL("paper.json", roomFolder(room)), "utf8"));
    const parsed = v.safeParse(paperSchema, file);
    const issues = parsed.issues?.map((issue) => `${v.getDotPath(issue)}: ${issue.message}`) ?? [];
    expect(issues).toEqual([]);
    expect(room.paper, "the registry is older than paper.json; npm run build makes it again").toEqual(file);
  });
});

for (const room of rooms.filter(({ loadExperiment }) => loadExperiment)) {
  test(`${room.paper.slug}: each claim of the experiment tests a claim of the paper`, async () => {
    const known = room.paper.claims.map(({ id }) => id);
    const { default: experiment } = await room.loadExperiment!();
    expect(known).toEqual(expect.arrayContaining(experiment.claims.map((claim) => claim.of ?? claim.id)));
  });
}

for (const room of rooms.filter(({ hasMethod }) => hasMethod)) {
  test(`${room.paper.slug}: a method comes with its tests`, () => {
    expect(existsSync(new URL("method.test.ts", roomFolder(room)))).toBe(true);
  });
}
