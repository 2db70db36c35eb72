import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, watch } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { simpleParser } from "mailparser";
import { SMTPServer } from "smtp-server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Library } from "../library.ts";
import { openLibrary } from "../library.ts";
import { buildProgram } from "../testing/buildProgram.ts";
import type { DigestOrder } from "../testing/digestProcess.ts";
import { hashingEmbedder } from "../testing/hashingEmbedder.ts";
import { builtIn, NOON } from "../testing/papers.ts";
import { type PostgresServer, postgresPrograms, startPostgres } from "../testing/postgresServer.ts";

const SUBSCRIBERS = 2000;
const CLAIMS_EXPIRE = 11 * 60_000;

const root = mkdtempSync(join(tmpdir(), "library-digest-"));
const programs = postgresPrograms();
let program: Awaited<ReturnType<typeof buildProgram>>;
let server: PostgresServer | undefined;

beforeAll(async () => {
  program = await buildProgram(new URL("../testing/digestProcess.ts", import.meta.url));
  if (programs) server = await startPostgres(programs);
});

afterAll(async () => {
  program?.remove();
  rmSync(root, { recursive: true, force: true });
  await server?.stop();
});

const open = (location: { dataDir?: string; databaseUrl?: string }) =>
  openLibrary({ ...location, embedder: "hashing", createEmbedder: async (model) => hashingEmbedder(model) });

async function fill(library: Library): Promise<void> {
  await library.syncCollection([builtIn("weight-decay"), builtIn("dropout")], NOON);
  const rows = Array.from({ length: SUBSCRIBERS }, (_, index) => ({
    id: `s-${index}`,
    email: `reader${index}@example.org`,
    state: "active" as const,
    frequency: "daily" as const,
    weekday: 1,
    hour: 0,
    time_zone: "UTC",
    interests: JSON.stringify({ topics: [], families: [], searches: [] }),
    created_at: NOON,
  }));
  await library.database.sql.insertInto("subscriber").values(rows).execute();
}

const start = (order: Omit<DigestOrder, "now">, attempt: number): ChildProcess =>
  fork(program.path, [
    JSON.stringify({ ...order, now: new Date(NOON.getTime() + attempt * CLAIMS_EXPIRE).toISOString() }),
  ]);

/** Resolves with the process's last word, or undefined when it was killed. */
function finished(child: ChildProcess): Promise<unknown> {
  let last: unknown;
  child.on("message", (message) => {
    last = message;
  });
  return new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal ? undefined : last)));
}

/**
 * Runs digests and kills each as soon as `progress` has grown by a random amount, until one gets to its end.
 *
 * @returns how many were killed
 */
async function runKilling(
  order: Omit<DigestOrder, "now">,
  kills: number,
  whenGrown: (by: number) => Promise<void>,
): Promise<number> {
  for (let attempt = 0; attempt < kills; attempt++) {
    const child = start(order, attempt);
    const end = finished(child);
    const amount = 1 + Math.floor(Math.random() * (SUBSCRIBERS / kills / 1.5));
    await Promise.race([end, whenGrown(amount)]);
    child.kill("SIGKILL");
    expect(await end).toBeUndefined();
  }
  expect(await finished(start(order, kills))).toMatchObject({ report: { failed: 0 } });
  return kills;
}

/** Counts events and lets others wait for more of them. */
class Counter {
  #count = 0;
  readonly #waiting: { until: number; resolve: () => void }[] = [];

  increase(): void {
    this.#count++;
    for (const { until, resolve } of this.#waiting) if (this.#count >= until) resolve();
  }

  grown(by: number): Promise<void> {
    const until = this.#count + by;
    return new Promise((resolve) => this.#waiting.push({ until, resolve }));
  }
}

/** Tells when a folder has so many more letters. */
function growing(folder: string): (by: number) => Promise<void> {
  const counter = new Counter();
  const seen = new Set<string>();
  const watcher = watch(folder, (_, name) => {
    if (!name?.endsWith(".eml") || seen.has(name)) return;
    seen.add(name);
    counter.increase();
  });
  watcher.unref();
  return (by) => counter.grown(by);
}

async function expectEverybodyOnce(outbox: string): Promise<void> {
  const recipients: string[] = [];
  for (const name of readdirSync(outbox).filter((file) => file.endsWith(".eml"))) {
    const mail = await simpleParser(readFileSync(join(outbox, name)));
    expect(mail.text).toContain("About weight decay");
    recipients.push((mail.to as { text: string }).text);
  }
  expect(recipients.toSorted()).toEqual(
    Array.from({ length: SUBSCRIBERS }, (_, index) => `reader${index}@example.org`).sort(),
  );
}

describe("a digest that is killed at random points", () => {
  test("reaches each of 2,000 subscribers once (embedded, outbox)", async () => {
    const dataDir = join(root, "embedded");
    const library = await open({ dataDir });
    await fill(library);
    await library.close();
    const outbox = mkdtempSync(join(root, "outbox-"));
    await runKilling({ dataDir, outbox }, 4, growing(outbox));
    await expectEverybodyOnce(outbox);
  }, 600_000);

  test.skipIf(!programs)(
    "reaches each of 2,000 subscribers once (PostgreSQL server, outbox)",
    async () => {
      const databaseUrl = server!.createDatabase();
      const library = await open({ databaseUrl });
      await fill(library);
      await library.close();
      const outbox = mkdtempSync(join(root, "outbox-"));
      await runKilling({ databaseUrl, outbox }, 6, growing(outbox));
      await expectEverybodyOnce(outbox);
    },
    600_000,
  );

  test.skipIf(!programs)(
    "reaches each of 2,000 subscribers by SMTP, and what a kill repeats carries the same Message-ID",
    async () => {
      const databaseUrl = server!.createDatabase();
      const library = await open({ databaseUrl });
      await fill(library);
      await library.close();
      const received: { to: string; messageId: string }[] = [];
      const counter = new Counter();
      const smtp = new SMTPServer({
        authOptional: true,
        disabledCommands: ["STARTTLS", "AUTH"],
        onData(stream, session, done) {
          let text = "";
          stream.on("data", (chunk: Buffer) => {
            text += chunk;
          });
          stream.on("end", () => {
            const messageId = /^Message-ID:\s*<(.*)>/im.exec(text)![1]!;
            received.push({ to: session.envelope.rcptTo[0]!.address, messageId });
            counter.increase();
            done();
          });
        },
      });
      smtp.on("error", () => undefined);
      await new Promise<void>((resolve) => smtp.listen(0, "127.0.0.1", () => resolve()));
      const { port } = smtp.server.address() as AddressInfo;
      const kills = await runKilling({ databaseUrl, smtpUrl: `smtp://127.0.0.1:${port}` }, 6, (by) =>
        counter.grown(by),
      );
      await new Promise<void>((resolve) => smtp.close(() => resolve()));
      const messages = new Map(received.map(({ to, messageId }) => [messageId, to]));
      expect([...messages.values()].toSorted()).toEqual(
        Array.from({ length: SUBSCRIBERS }, (_, index) => `reader${index}@example.org`).sort(),
      );
      // A kill between the server's acceptance and our note of it can repeat one letter, never more.
      expect(received.length - messages.size).toBeLessThanOrEqual(kills);
    },
    600_000,
  );
});
