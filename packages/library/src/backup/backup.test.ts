import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Library, openLibrary } from "../library.ts";
import { describeOnEachDatabase, describeOnServer } from "../testing/databases.ts";
import { hashingEmbedder } from "../testing/hashingEmbedder.ts";
import { builtIn } from "../testing/papers.ts";
import { backup, InvalidBackupError, restore } from "./backup.ts";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prior-art-backup-"));
  file = join(folder, "library.backup");
});
afterEach(() => rm(folder, { recursive: true }));

const options = { embedder: "hashing", createEmbedder: async (model: string) => hashingEmbedder(model) };
const NOW = new Date("2026-03-04T05:06:07.089Z");

/** Something in every table, with what is easily lost on the way: microseconds, quotes, bytes, big numbers. */
async function fill(library: Library): Promise<void> {
  await library.syncCollection(
    [builtIn("first", { title: 'Of "quotes" and ∂ and \\backslashes\\' }), builtIn("second")],
    NOW,
  );
  await library.votes.vote("first", library.votes.newVoter(), NOW);
  await library.votes.recordRun("second", undefined, NOW);
  const { subscriberId, confirmation } = await library.subscriptions.subscribe(
    { email: "a@example.org" },
    NOW,
  );
  await library.subscriptions.confirm(confirmation!, NOW);
  const database = library.database.sql;
  await sql`insert into source values ('feed', 'W/"x"', null, 'page 2', '2026-01-01 00:00:00.123456+00', 3)`.execute(
    database,
  );
  await sql`insert into delivery values (${subscriberId}, '2026-03-04', 'sent', 'me', now(), now(), '["first"]')`.execute(
    database,
  );
  await sql`update paper set revision = 9007199254740993 where id = 'second'`.execute(database);
}

/** Every row of every table as text. */
async function contents(library: Library): Promise<string[]> {
  const all: string[] = [];
  for (const table of ["paper", "embedding", "setting", "vote", "run", "source", "subscriber", "delivery"]) {
    const { rows } = await sql<{
      row: string;
    }>`select t::text as row from ${sql.table(table)} t order by 1`.execute(library.database.sql);
    all.push(...rows.map(({ row }) => `${table}: ${row}`));
  }
  return all;
}

describeOnEachDatabase("backup and restore", (bed) => {
  test("a library comes back as it was, to the last microsecond and byte", async () => {
    const { library } = bed();
    await fill(library);
    const before = await contents(library);
    const counts = await backup(library.database, file);
    expect(counts).toMatchObject({ paper: 2, vote: 1, run: 1, source: 1, subscriber: 1, delivery: 1 });
    await sql`delete from paper`.execute(library.database.sql);
    expect(await restore(library.database, file, { replace: true })).toEqual(counts);
    expect(await contents(library)).toEqual(before);
    // New papers go on behind the largest revision.
    await library.syncCollection([builtIn("third")], NOW);
    expect(await library.paper("third")).toBeDefined();
    expect((await library.search({ query: "quotes" })).hits[0]!.paper.id).toBe("first");
  });

  test("a library that is not empty is only replaced when asked", async () => {
    const { library } = bed();
    await fill(library);
    await backup(library.database, file);
    const before = await contents(library);
    await expect(restore(library.database, file)).rejects.toThrow(/already has rows \(paper, .*--replace/);
    expect(await contents(library)).toEqual(before);
  });

  test.each([
    ["cut short", (lines: string[]) => lines.slice(0, -1), /is cut short/],
    [
      "with a row missing",
      (lines: string[]) => lines.filter((line) => !line.includes('"table":"vote"')),
      /does not hold the rows/,
    ],
    [
      "with a foreign table",
      (lines: string[]) => [...lines.slice(0, 1), '{"table":"pg_class","row":{}}'],
      /no row of a table/,
    ],
    [
      "with a row that does not fit",
      (lines: string[]) => [lines[0]!, '{"table":"paper","row":{"id":"x"}}', '{"table":"vote","row":{}}'],
      /rows of paper do not fit/,
    ],
    [
      "of another version",
      (lines: string[]) => [lines[0]!.replace("001-papers", "000-papers"), ...lines.slice(1)],
      /another database schema/,
    ],
    ["of something else", () => ['{"format":"other"}'], /is no backup of a library/],
    ["that goes on", (lines: string[]) => [...lines, lines[1]!], /goes on behind its end/],
    ["with damaged JSON", (lines: string[]) => [lines[0]!, "{"], /line 2: not JSON/],
  ])("a file %s is refused, and nothing changes", async (_, damage, reason) => {
    const { library } = bed();
    await fill(library);
    await backup(library.database, file);
    const before = await contents(library);
    const lines = gunzipSync(await readFile(file))
      .toString()
      .trimEnd()
      .split("\n");
    await writeFile(file, gzipSync(`${damage(lines).join("\n")}\n`));
    const refused = restore(library.database, file, { replace: true });
    await expect(refused).rejects.toBeInstanceOf(InvalidBackupError);
    await expect(refused).rejects.toThrow(reason);
    expect(await contents(library)).toEqual(before);
  });

  test("more rows than fit one batch all arrive", async () => {
    const { library } = bed();
    await library.syncCollection(
      Array.from({ length: 3 }, (_, i) => builtIn(`paper-${i}`)),
      NOW,
    );
    await sql`insert into vote select id, 'voter ' || n, now() from paper, generate_series(1, 700) n`.execute(
      library.database.sql,
    );
    const before = await contents(library);
    expect(await backup(library.database, file)).toMatchObject({ vote: 2100 });
    await restore(library.database, file, { replace: true });
    expect(await contents(library)).toEqual(before);
  });
});

describeOnServer("moving a library", (bed) => {
  test("from a folder to a server and back, without loss", async () => {
    const embedded = await openLibrary({ ...options, dataDir: join(folder, "one") });
    await fill(embedded);
    const before = await contents(embedded);
    await backup(embedded.database, file);
    await embedded.close();

    const { library } = bed();
    await restore(library.database, file);
    expect(await contents(library)).toEqual(before);
    await backup(library.database, `${file}.server`);

    const again = await openLibrary({ ...options, dataDir: join(folder, "two") });
    await restore(again.database, `${file}.server`);
    expect(await contents(again)).toEqual(before);
    await again.close();
  });
});

describe("files", () => {
  test("a missing file and one that is no archive are named, and a failed backup leaves nothing behind", async () => {
    const library = await openLibrary(options);
    await expect(restore(library.database, file)).rejects.toThrow(`There is no file ${file}`);
    await writeFile(file, "no archive");
    await expect(restore(library.database, file)).rejects.toThrow(/is no backup, or is damaged/);
    await writeFile(file, gzipSync("x".repeat(100)).subarray(0, 15));
    await expect(restore(library.database, file)).rejects.toThrow(/is no backup, or is damaged/);
    await expect(backup(library.database, join(folder, "nowhere", "x"))).rejects.toThrow(/ENOENT/);
    expect(await readdir(folder)).toEqual(["library.backup"]);
    await library.close();
  });
});
