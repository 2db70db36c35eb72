import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  createMailer,
  type Library,
  mailSettingsFrom,
  openLibrary,
  readSources,
  sendDigests,
  syncSources,
} from "@prior-art/library";
import { queueJobs } from "@prior-art/library/testing";

const bin = fileURLToPath(new URL("../../bin/prior-art.js", import.meta.url));

/** What the loop did and what was accepted, all of which was found again. */
export interface CrashReport {
  readonly kills: number;
  readonly votes: number;
  readonly subscriptions: number;
  readonly papers: number;
  readonly letters: number;
  /** Seconds from the start of a process after a kill to the first page it can serve. */
  readonly startups: readonly number[];
}

export interface CrashOptions {
  readonly kills: number;
  /** An empty folder. */
  readonly folder: string;
  /** Told after every kill. */
  readonly onKill?: (kill: number, startup: number | undefined) => void;
}

/** Something that was accepted is missing, or something is there in part or twice. */
export class BrokenPromiseError extends Error {
  override readonly name = "BrokenPromiseError";
}

const PAPERS_A_SOURCE = 40;
const PAPERS_AN_IMPORT = 1500;
const SUBSCRIBERS_A_ROUND = 2;

/** What has been promised so far: answered with success before the process died. */
class Ledger {
  /** Votes by paper: accepted, and asked for without an answer. */
  readonly votes = new Map<string, { accepted: number; unanswered: number }>();
  readonly subscriptions = new Set<string>();
  /** Confirmed subscribers, each of whom gets one letter. */
  readonly readers = new Set<string>();
  /** Titles of papers by the source or file that brings them. */
  readonly sources = new Map<string, readonly string[]>();
  /** Sources that had been taken in whole when the library was looked at last. */
  readonly complete = new Set<string>();
}

const papersOf = (source: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({
    title: `Paper ${i} from ${source}`,
    authors: ["Ada Author"],
    year: 2024,
    abstract: `Regularization number ${i}, brought by ${source}.`,
  }));

const jsonLines = (papers: readonly object[]) => papers.map((paper) => JSON.stringify(paper)).join("\n");

/**
 * Kills `serve` again and again at random moments while it takes votes and subscriptions, polls sources and sends digests,
 * and every fourth time an import instead; after every kill everything that was accepted is looked for.
 *
 * @throws BrokenPromiseError
 */
export async function crashLoop({ kills, folder, onKill }: CrashOptions): Promise<CrashReport> {
  const ledger = new Ledger();
  const startups: number[] = [];
  await mkdir(folder, { recursive: true });
  const feed = createServer((request, response) => {
    const source = new URL(request.url!, "http://localhost").pathname.slice(1);
    response.setHeader("Content-Type", "application/jsonl").end(jsonLines(papersOf(source, PAPERS_A_SOURCE)));
  });
  await new Promise<void>((resolve) => feed.listen(0, "127.0.0.1", resolve));
  const { port: feedPort } = feed.address() as AddressInfo;
  try {
    // The collection, which the first start would prepare.
    await run(folder, ["search", "overfitting"]);
    for (let kill = 1; kill <= kills; kill++) {
      let startup: number | undefined;
      if (kill % 4 === 0) await killImport(folder, kill, ledger);
      else {
        await prepareRound(folder, kill, ledger, feedPort);
        startup = await killServe(folder, ledger);
        startups.push(startup);
      }
      await withLibrary(folder, (library) => verify(library, folder, ledger));
      onKill?.(kill, startup);
    }
    return await withLibrary(folder, (library) => settle(library, folder, kills, ledger, startups));
  } finally {
    feed.close();
  }
}

/** New subscribers whose digest is due, a new source, and the jobs that serve both. */
async function prepareRound(folder: string, round: number, ledger: Ledger, feedPort: number): Promise<void> {
  const source = `source-${round}`;
  ledger.sources.set(
    source,
    papersOf(source, PAPERS_A_SOURCE).map(({ title }) => title),
  );
  const sources = [...ledger.sources.keys()]
    .filter((name) => name.startsWith("source-") && !ledger.complete.has(name))
    .map((name) => ({
      name,
      url: `http://127.0.0.1:${feedPort}/${name}`,
      format: "json-lines",
      everyMinutes: 1,
    }));
  await writeFile(join(folder, "sources.json"), JSON.stringify(sources));
  await withLibrary(folder, async (library) => {
    for (let i = 0; i < SUBSCRIBERS_A_ROUND; i++) {
      const email = `reader-${round}-${i}@example.org`;
      const { confirmation } = await library.subscriptions.subscribe({ email, hour: 0 });
      await library.subscriptions.confirm(confirmation!);
      ledger.readers.add(email);
    }
    await queueJobs(library, ["digest", "sync"]);
  });
}

/** Starts `serve`, lets visitors vote and subscribe, and kills it; @returns seconds until it served. */
async function killServe(folder: string, ledger: Ledger): Promise<number> {
  const started = performance.now();
  const child = spawn(process.execPath, [bin, "serve", "--port", "0", "--data", folder], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, DATABASE_URL: "" },
  });
  const address = await addressOf(child);
  const startup = (performance.now() - started) / 1000;
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const stop = new AbortController();
  const visitors = [votes(address, ledger, stop.signal), subscriptions(address, ledger, stop.signal)];
  // Before the first answers there is nothing to lose.
  const [votesBefore, subscriptionsBefore] = [acceptedOf(ledger), ledger.subscriptions.size];
  const answered = () => acceptedOf(ledger) > votesBefore && ledger.subscriptions.size > subscriptionsBefore;
  for (let waited = 0; waited < 60_000 && !answered(); waited += 20) await pause(20);
  await pause(1500 * Math.random());
  child.kill("SIGKILL");
  const status = await ended;
  stop.abort();
  await Promise.all(visitors);
  if (status !== null) throw new BrokenPromiseError(`serve ended by itself with status ${status}`);
  return startup;
}

const acceptedOf = ({ votes: counts }: Ledger): number =>
  [...counts.values()].reduce((sum, { accepted }) => sum + accepted, 0);

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines: string[] = [];
    createInterface({ input: child.stderr! }).on("line", (line) => {
      lines.push(line);
      // By the name that the site's own links have: forms from elsewhere are refused.
      const [, port] = /at http:\/\/127\.0\.0\.1:(\d+)\/ /.exec(line) ?? [];
      if (port) resolve(`http://localhost:${port}`);
    });
    child.once("close", () => reject(new BrokenPromiseError(`serve did not start: ${lines.join("; ")}`)));
  });
}

/** A slug of the collection for each visitor in turn. */
const VOTED = ["fira", "lora-one", "early-learning-regularization", "decoupled-weight-decay"];

async function votes(address: string, ledger: Ledger, stop: AbortSignal): Promise<void> {
  for (let i = 0; !stop.aborted; i++) {
    const paper = VOTED[i % VOTED.length]!;
    const count = ledger.votes.get(paper) ?? { accepted: 0, unanswered: 0 };
    ledger.votes.set(paper, count);
    count.unanswered++;
    // Every call is a new visitor: it brings no cookie.
    const answer = await fetch(`${address}/api/papers/${paper}/vote`, { method: "POST" })
      .then(async (response) => response.ok && (await response.json()))
      .catch(() => undefined);
    if (answer) count.accepted++;
    // Without an answer the vote may or may not count.
    if (answer !== undefined) count.unanswered--;
    await pause(15);
  }
}

async function subscriptions(address: string, ledger: Ledger, stop: AbortSignal): Promise<void> {
  for (let i = 0; i < 5 && !stop.aborted; i++) {
    const email = `visitor-${ledger.subscriptions.size}-${Date.now()}@example.org`;
    const answer = await fetch(`${address}/subscribe`, {
      method: "POST",
      headers: { origin: address, accept: "application/json" },
      body: new URLSearchParams({ email }),
    })
      .then(async (response) => response.ok && (await response.json()))
      .catch(() => undefined);
    if (answer?.type === "success") ledger.subscriptions.add(email);
    await pause(100);
  }
}

/** Imports a large file in a process of its own and kills it on the way. */
async function killImport(folder: string, round: number, ledger: Ledger): Promise<void> {
  const source = `import-${round}`;
  const papers = papersOf(source, PAPERS_AN_IMPORT);
  const file = join(folder, `${source}.jsonl`);
  await writeFile(file, jsonLines(papers));
  const child = spawn(process.execPath, [bin, "import", file, "--data", folder], {
    stdio: "ignore",
    env: { ...process.env, DATABASE_URL: "" },
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const timer = setTimeout(() => child.kill("SIGKILL"), 1500 + 4000 * Math.random());
  const status = await ended;
  clearTimeout(timer);
  ledger.sources.set(
    source,
    papers.map(({ title }) => title),
  );
  // One that ended by itself has promised everything.
  if (status === 0) ledger.complete.add(source);
}

async function withLibrary<Result>(
  folder: string,
  use: (library: Library) => Promise<Result>,
): Promise<Result> {
  const library = await openLibrary({ dataDir: folder });
  try {
    return await use(library);
  } finally {
    await library.close();
  }
}

/** Imports write in batches of this size, each whole or not at all. */
const BATCH = 250;

async function verify(library: Library, folder: string, ledger: Ledger): Promise<void> {
  const rows = async (text: string) => (await library.database.execute(text)).rows;
  const counted = new Map(
    (await rows("select paper_id, count(*) as votes from vote group by paper_id")).map(
      ({ paper_id, votes: count }) => [paper_id as string, Number(count)],
    ),
  );
  for (const [paper, { accepted, unanswered }] of ledger.votes) {
    const found = counted.get(paper) ?? 0;
    if (found < accepted || found > accepted + unanswered)
      throw new BrokenPromiseError(
        `${paper} has ${found} votes; ${accepted} were accepted, ${unanswered} unanswered`,
      );
  }
  const emails = new Set((await rows("select email from subscriber")).map(({ email }) => email as string));
  for (const email of [...ledger.subscriptions, ...ledger.readers])
    if (!emails.has(email)) throw new BrokenPromiseError(`the accepted subscription of ${email} is lost`);
  const titles = new Map<string, number>();
  for (const { title } of await rows("select title from paper"))
    titles.set(title as string, (titles.get(title as string) ?? 0) + 1);
  for (const [source, expected] of ledger.sources) {
    const found = expected.map((title) => titles.get(title) ?? 0);
    if (found.some((count) => count > 1)) throw new BrokenPromiseError(`${source} has papers twice`);
    const present = found.filter((count) => count === 1).length;
    if (present === expected.length) ledger.complete.add(source);
    else if (ledger.complete.has(source))
      throw new BrokenPromiseError(
        `${source} was taken in and now lacks ${expected.length - present} papers`,
      );
    else if (present % BATCH !== 0)
      throw new BrokenPromiseError(`${source} is there in part: ${present} of ${expected.length} papers`);
  }
  for (const [email, letters] of await digestsIn(folder))
    if (letters > 1) throw new BrokenPromiseError(`${email} got ${letters} digests for one day`);
}

/** Letters to each reader that lie in the outbox; unfinished files have another ending. */
async function digestsIn(folder: string): Promise<Map<string, number>> {
  const outbox = join(folder, "outbox");
  const files = await readdir(outbox).catch(() => [] as string[]);
  const letters = new Map<string, number>();
  for (const file of files.filter((name) => name.endsWith(".eml"))) {
    const text = await readFile(join(outbox, file), "utf8");
    const [, to] = /^To: (reader-\S+)$/m.exec(text) ?? [];
    if (to) letters.set(to.trim(), (letters.get(to.trim()) ?? 0) + 1);
  }
  return letters;
}

/** At the end all that is still due is sent and fetched, and everything is counted once more. */
async function settle(
  library: Library,
  folder: string,
  kills: number,
  ledger: Ledger,
  startups: readonly number[],
): Promise<CrashReport> {
  const settings = mailSettingsFrom({ PRIOR_ART_DATA: folder });
  const mailer = createMailer(settings);
  // Later than any claim of a process that died on the way.
  const later = new Date(Date.now() + 11 * 60_000);
  await sendDigests(library, { mailer, site: settings.site, now: () => later });
  mailer.close();
  const sources = await readSources(join(folder, "sources.json"));
  await syncSources(library.database, sources, { now: () => later, force: true });
  await verify(library, folder, ledger);
  for (const { name } of sources)
    if (!ledger.complete.has(name)) throw new BrokenPromiseError(`${name} could not be taken in`);
  const letters = await digestsIn(folder);
  for (const email of ledger.readers)
    if (letters.get(email) !== 1)
      throw new BrokenPromiseError(`${email} got ${letters.get(email) ?? 0} digests instead of one`);
  return {
    kills,
    votes: acceptedOf(ledger),
    subscriptions: ledger.subscriptions.size,
    papers: [...ledger.sources]
      .filter(([source]) => ledger.complete.has(source))
      .reduce((sum, [, titles]) => sum + titles.length, 0),
    letters: letters.size,
    startups,
  };
}

function run(folder: string, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [bin, ...args, "--data", folder], {
    stdio: "ignore",
    env: { ...process.env, DATABASE_URL: "" },
  });
  return new Promise((resolve, reject) => {
    child.once("close", (status) =>
      status === 0 ? resolve() : reject(new Error(`prior-art ${args[0]} ended with status ${status}`)),
    );
  });
}
