import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { afterAll, expect, test } from "vitest";
import { buildProgram } from "../testing/buildProgram.ts";
import { describeOnEachDatabase, describeOnServer } from "../testing/databases.ts";
import { openDatabase } from "./database.ts";
import { FolderInUseError, lockFolder } from "./folderLock.ts";
import { migrate } from "./migrations.ts";

const root = mkdtempSync(join(tmpdir(), "library-database-"));
afterAll(() => rmSync(root, { recursive: true }));

const DEAD_PROCESS = "999999999";

test("a folder is held by one library at a time and free again when it closes", () => {
  const folder = join(root, "held");
  const release = lockFolder(folder);
  expect(() => lockFolder(folder)).toThrow(FolderInUseError);
  release();
  lockFolder(folder)();
});

test.each([
  ["a process that has ended", DEAD_PROCESS],
  ["an earlier process with our number", String(process.pid)],
  ["something that is no process", "garbage"],
])("the lock of %s is taken over", (_, holder) => {
  const folder = mkdtempSync(join(root, "left-"));
  writeFileSync(join(folder, "in-use-by"), holder);
  lockFolder(folder)();
});

test("the lock of another living process is respected", () => {
  const folder = mkdtempSync(join(root, "other-"));
  writeFileSync(join(folder, "in-use-by"), String(process.ppid));
  expect(() => lockFolder(folder)).toThrow("is open in another process");
});

test("of many processes that reach for a folder whose owner died, one gets it", async () => {
  const program = await buildProgram(new URL("../testing/lockProcess.ts", import.meta.url));
  const folder = mkdtempSync(join(root, "raced-"));
  writeFileSync(join(folder, "in-use-by"), "999999999");
  try {
    for (let round = 0; round < 5; round++) {
      const processes = Array.from({ length: 5 }, () => fork(program.path, [folder]));
      const told = (child: ChildProcess) => once(child, "message").then(([message]) => String(message));
      await Promise.all(processes.map(told));
      const answers = processes.map(told);
      for (const child of processes) child.send("go");
      const said = await Promise.all(answers);
      expect(said.filter((answer) => answer === "got it")).toHaveLength(1);
      expect(said.filter((answer) => /is open in another process/.test(answer))).toHaveLength(4);
      // The next round finds a dead owner.
      const ended = processes.map((child) => once(child, "exit"));
      for (const child of processes) child.kill("SIGKILL");
      await Promise.all(ended);
    }
  } finally {
    program.remove();
  }
});

test("an embedded database keeps its data from one opening to the next", async () => {
  const dataDir = join(root, "kept");
  const first = await openDatabase({ dataDir });
  await first.sql.insertInto("setting").values({ key: "colour", value: "blue" }).execute();
  await expect(openDatabase({ dataDir })).rejects.toThrow(FolderInUseError);
  await first.close();
  const second = await openDatabase({ dataDir });
  const setting = second.sql.selectFrom("setting").select("value").where("key", "=", "colour");
  expect(await setting.executeTakeFirst()).toEqual({ value: "blue" });
  await second.close();
});

test("a server that does not answer is named in one line, its password is not", async () => {
  const opening = openDatabase({ databaseUrl: "postgres://x:hunter2@127.0.0.1:1/x" });
  await expect(opening).rejects.toThrow(/^No PostgreSQL at 127\.0\.0\.1:1 \(ECONNREFUSED\)/);
});

describeOnEachDatabase("database", (bed) => {
  test("migrating again changes nothing", async () => {
    const { sql: database } = bed().library.database;
    const tables = () => sql`select table_name from information_schema.tables order by 1`.execute(database);
    const { rows } = await tables();
    await migrate(database);
    expect((await tables()).rows).toEqual(rows);
  });

  test("a transaction that fails leaves nothing behind, and others wait for it", async () => {
    const { sql: database } = bed().library.database;
    const failing = database.transaction().execute(async (transaction) => {
      await transaction.insertInto("source").values({ name: "a", next_poll_at: new Date() }).execute();
      throw new Error("stop");
    });
    const other = database.insertInto("source").values({ name: "b", next_poll_at: new Date() }).execute();
    await expect(failing).rejects.toThrow("stop");
    await other;
    expect(await database.selectFrom("source").select("name").execute()).toEqual([{ name: "b" }]);
  });

  test("the vector type is there exactly where the extension is", async () => {
    const { kind, library } = bed();
    if (kind === "embedded") expect(library.database.hasVectorType).toBe(true);
    const query = sql<{ n: number }>`select '[1,2]'::vector <-> '[1,3]'::vector as n`.execute(
      library.database.sql,
    );
    if (library.database.hasVectorType) expect((await query).rows).toEqual([{ n: 1 }]);
    else await expect(query).rejects.toThrow();
  });
});

describeOnServer("opening", (bed) => {
  test("several processes may open and migrate a new database at once", async () => {
    const { openAgain } = bed();
    const libraries = await Promise.all(Array.from({ length: 5 }, () => openAgain()));
    const secrets = libraries.map(({ votes, tokens }) =>
      tokens.verify("voter", votes.newVoter(), new Date()),
    );
    expect(new Set(secrets).size).toBe(5);
    const token = libraries[0]!.votes.newVoter();
    for (const { tokens } of libraries) expect(tokens.verify("voter", token, new Date())).toBeDefined();
  });
});
