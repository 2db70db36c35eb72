import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Results, UnitResult } from "@prior-art/lab";
import {
  clusterExecutor,
  type FailureLimits,
  runWorker,
  type UnitOrder,
  UnitQueue,
} from "@prior-art/lab/cluster";
import { codeVersion, reproductionFiles } from "@prior-art/lab/node";
import { type PostgresServer, postgresPrograms, startPostgres } from "@prior-art/library/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

const bin = fileURLToPath(new URL("../bin/prior-art.js", import.meta.url));
const programs = postgresPrograms();
if (!programs) console.warn("No PostgreSQL server is installed here: the cluster is not tested");

/** Many short units. */
const PAPER = "imperfect-information-game-ftrl";
/** Few longer ones. */
const OTHER_PAPER = "early-learning-regularization";

interface Process {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

describe.skipIf(!programs)("units on a queue", () => {
  let server: PostgresServer;
  let databaseUrl: string;
  let folder: string;
  const processes = new Set<ChildProcess>();

  beforeAll(async () => {
    server = await startPostgres(programs!);
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    databaseUrl = server.createDatabase();
    folder = await mkdtemp(join(tmpdir(), "prior-art-cluster-"));
  });
  afterEach(async () => {
    for (const child of processes) child.kill("SIGKILL");
    processes.clear();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  function start(data: string, ...args: string[]): Process {
    const child = spawn(process.execPath, [bin, ...args], {
      env: { ...process.env, DATABASE_URL: databaseUrl, PRIOR_ART_DATA: join(folder, data) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    processes.add(child);
    let output = "";
    const collect = (chunk: Buffer) => {
      output += chunk;
    };
    child.stdout!.on("data", collect);
    child.stderr!.on("data", collect);
    const ended = new Promise<number | null>((resolve) => {
      child.once("close", (status) => {
        processes.delete(child);
        resolve(status);
      });
    });
    return { child, output: () => output, ended };
  }

  const worker = (name: string) => start(name, "worker", "--workers", "1");
  const submit = (name: string, ...args: string[]) =>
    start(name, "reproduce", ...args, "--quick", "--engine", "postgres");

  async function numbersOf(data: string, paper: string) {
    const path = reproductionFiles(join(folder, data), paper, "quick").results;
    const { units, claims, tuning } = JSON.parse(await readFile(path, "utf8")) as Results;
    return { claims, tuning, units: units.map(({ seconds, ...unit }) => unit) };
  }

  /** @param lost milliseconds without a sign of life after which a worker counts as dead */
  async function openQueue(limits?: FailureLimits, lost = 60_000): Promise<UnitQueue> {
    const times = { heartbeat: 50, lost };
    return UnitQueue.open({ databaseUrl, onTrouble: () => undefined, times, ...(limits && { limits }) });
  }

  test("20 workers are killed and the server restarts: every unit counts once, with a local run's numbers", async () => {
    // So many units that twenty kills come before the last of them, on fast machines too.
    const many = [PAPER, "--seeds", "6"];
    const local = start("local", "reproduce", ...many, "--quick");
    expect(await local.ended).toBe(0);
    const workers = Array.from({ length: 4 }, (_, i) => worker(`worker-${i}`));
    const submitter = submit("submitter", ...many);
    let running = true;
    const status = submitter.ended.then((code) => {
      running = false;
      return code;
    });
    let kills = 0;
    while (kills < 20 && running) {
      await new Promise((resolve) => setTimeout(resolve, 200 + 600 * Math.random()));
      const number = Math.floor(4 * Math.random());
      const victim = workers[number]!;
      const replace = () => {
        workers[number] = worker(`worker-${number}`);
      };
      // A worker that starts while the server is away ends with its reason; whoever runs it starts it again.
      if (victim.child.exitCode !== null) replace();
      // One that is still starting has nothing to lose.
      if (!victim.output().includes("at the queue") || victim.child.exitCode !== null) continue;
      victim.child.kill("SIGKILL");
      replace();
      if (++kills === 10) await server.restart();
    }
    expect(await status, submitter.output()).toBe(0);
    expect(kills).toBe(20);
    expect(await numbersOf("submitter", PAPER)).toEqual(await numbersOf("local", PAPER));
    const shown = [...submitter.output().matchAll(/: (\d+)%/g)].map(([, percent]) => Number(percent));
    expect(shown.length).toBeGreaterThanOrEqual(5);
    expect(shown).toEqual([...shown].sort((a, b) => a - b));
    const queue = await openQueue();
    const { queued, running: claimed, finished, parked } = await queue.status();
    await queue.close();
    const { units, tuning } = await numbersOf("submitter", PAPER);
    const tuned = tuning.reduce((sum, { seeds }) => sum + seeds.length, 0);
    expect({ queued, claimed, parked, finished }).toEqual({
      queued: 0,
      claimed: [],
      parked: [],
      finished: units.length + tuned,
    });
  }, 600_000);

  test("two submitters share workers and units without disturbing each other", async () => {
    const workers = [worker("a"), worker("b")];
    const [first, second] = [submit("first", PAPER), submit("second", OTHER_PAPER, PAPER)];
    expect(await first.ended, first.output()).toBe(0);
    expect(await second.ended, second.output()).toBe(0);
    expect(await numbersOf("first", PAPER)).toEqual(await numbersOf("second", PAPER));
    const done = workers.flatMap(({ output }) => output().match(/.*: finished/g) ?? []);
    expect(new Set(done).size).toBe(done.length);
  }, 600_000);

  test("a submitter that is stopped leaves its units to the workers and finds their results later", async () => {
    const submitter = submit("submitter", OTHER_PAPER);
    const queue = await openQueue();
    while ((await queue.status()).queued === 0) await new Promise((resolve) => setTimeout(resolve, 100));
    submitter.child.kill("SIGINT");
    expect(await submitter.ended).toBe(1);
    expect(submitter.output()).toMatch(/stopped; the same command goes on from here, and workers go on/);
    const { queued } = await queue.status();
    expect(queued).toBeGreaterThan(0);
    const busy = worker("worker");
    while ((await queue.status()).queued > 0) await new Promise((resolve) => setTimeout(resolve, 100));
    const again = submit("submitter", OTHER_PAPER);
    expect(await again.ended, again.output()).toBe(0);
    const done = busy.output().match(/.*: finished/g) ?? [];
    expect(new Set(done).size).toBe(done.length);
    await queue.close();
  }, 600_000);

  test.each([
    [
      "an address without a server",
      ["--database-url", "postgres://nobody@127.0.0.1:9/none"],
      /no PostgreSQL at 127\.0\.0\.1:9/,
    ],
    ["no address", ["--database-url", ""], /give --database-url URL or set DATABASE_URL/],
  ])("%s is one line and status 2, for workers and submitters", async (_, args, reason) => {
    for (const command of [["worker"], ["queue"], ["reproduce", PAPER, "--engine", "postgres"]]) {
      const ran = start("data", ...command, ...args);
      expect(await ran.ended).toBe(2);
      expect(ran.output().trim().split("\n")).toHaveLength(1);
      expect(ran.output()).toMatch(reason);
    }
  });

  const unitOf = (name: string, seed: number, mode: "full" | "quick" = "full"): UnitOrder => ({
    experiment: { kind: "paper", name },
    codeVersion: "1",
    unit: { mode, phase: "test", arm: "only", seed, hyperparameters: {} },
  });
  const orders = (name: string, count: number, mode: "full" | "quick" = "full") =>
    Array.from({ length: count }, (_, place) => ({ order: unitOf(name, place, mode), place }));
  const resultOf = ({ unit }: UnitOrder): UnitResult => ({
    ...unit,
    status: "finished",
    metrics: { sum: unit.seed },
    seconds: 0,
  });

  test("processes that come to a new server together all find the queue", async () => {
    for (let round = 0; round < 5; round++) {
      databaseUrl = server.createDatabase();
      const queues = await Promise.all(Array.from({ length: 6 }, () => openQueue()));
      expect((await queues[0]!.status()).queued).toBe(0);
      await Promise.all(queues.map((queue) => queue.close()));
    }
  });

  test("runs take turns, and quick units come before full ones", async () => {
    const queue = await openQueue();
    await queue.enqueue(orders("long", 4));
    await queue.enqueue(orders("late", 2));
    await queue.enqueue(orders("look", 2, "quick"));
    const taken: string[] = [];
    for (let next = await queue.take("w"); next; next = await queue.take("w"))
      taken.push(`${next.experiment.name} ${next.unit.seed}`);
    expect(taken.slice(0, 2)).toEqual(["look 0", "look 1"]);
    expect(taken.slice(2, 6).map((title) => title.at(-1))).toEqual(["0", "0", "1", "1"]);
    expect(taken.slice(6)).toEqual(["long 2", "long 3"]);
    await queue.close();
  });

  test("a unit that is submitted twice is run once, and a finished one never again", async () => {
    const queue = await openQueue();
    await queue.enqueue(orders("paper", 1));
    await queue.enqueue(orders("paper", 1));
    const taken = (await queue.take("w"))!;
    await queue.enqueue(orders("paper", 1));
    expect(await queue.take("v")).toBeUndefined();
    await queue.finish(taken, "w", resultOf(taken));
    await queue.enqueue(orders("paper", 1));
    expect(await queue.take("v")).toBeUndefined();
    expect(await queue.outcomes([taken.key])).toEqual([
      { key: taken.key, state: "finished", result: resultOf(taken) },
    ]);
    await queue.close();
  });

  test("a late worker's result does not replace the first", async () => {
    const queue = await openQueue(undefined, 400);
    await queue.enqueue(orders("paper", 1));
    const slow = (await queue.take("slow"))!;
    await new Promise((resolve) => setTimeout(resolve, 500));
    await queue.releaseLost();
    const quick = (await queue.take("quick"))!;
    expect(quick.key).toBe(slow.key);
    await queue.finish(quick, "quick", resultOf(quick));
    await queue.finish(slow, "slow", { ...resultOf(slow), seconds: 9 });
    const [outcome] = await queue.outcomes([slow.key]);
    expect(outcome).toMatchObject({ state: "finished", result: { seconds: 0 } });
    await queue.close();
  });

  test("a unit whose workers die again and again is parked, and gets a new chance when submitted again", async () => {
    const queue = await openQueue({ error: 2, lost: 3, mismatch: 1 }, 400);
    await queue.enqueue(orders("deadly", 1));
    let key = "";
    for (let death = 1; death <= 3; death++) {
      key = (await queue.take(`victim ${death}`))!.key;
      await new Promise((resolve) => setTimeout(resolve, 500));
      await queue.releaseLost();
    }
    expect(await queue.take("survivor")).toBeUndefined();
    expect(await queue.outcomes([key])).toEqual([
      { key, state: "parked", message: "its worker victim 3 died (failed 3 times)" },
    ]);
    await queue.enqueue(orders("deadly", 1));
    expect((await queue.take("survivor"))?.key).toBe(key);
    await queue.close();
  });

  const fixture = (name: string) =>
    fileURLToPath(new URL(`../../lab/dist/fixtures/${name}.js`, import.meta.url));

  /** A worker in this process that knows the lab's fixtures. */
  function inProcess(queue: UnitQueue, grace = 1000): { stop(): Promise<void>; readonly lines: string[] } {
    const ending = new AbortController();
    const lines: string[] = [];
    const over = runWorker({
      queue,
      slots: 2,
      signal: ending.signal,
      grace,
      pollInterval: 20,
      log: (line) => lines.push(line),
      locate: ({ name }) => (name === "nowhere" ? undefined : pathToFileURL(fixture(name)).href),
    });
    return {
      lines,
      async stop() {
        ending.abort();
        await over;
      },
    };
  }

  const executorOf = async (queue: UnitQueue, name: string, version?: string) =>
    clusterExecutor({
      queue,
      experiment: { kind: "paper", name },
      codeVersion: version ?? (await codeVersion(pathToFileURL(fixture(name)).href)),
      pollInterval: 20,
    });
  const hooks = () => ({ signal: new AbortController().signal });

  test("a unit that throws is parked with its error, which reaches the submitter; others finish", async () => {
    const queue = await openQueue();
    const working = inProcess(queue);
    const executor = await executorOf(queue, "failing");
    const units = [0, 1, 2].map((seed) => unitOf("failing", seed).unit);
    const settled = await Promise.allSettled(
      units.map((unit) => executor.run({ ...unit, hyperparameters: { width: 4 } }, hooks())),
    );
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((settled[1] as PromiseRejectedResult).reason.message).toMatch(
      /seed 1.*shapes \[3\] and \[4\] do not match.*failed 2 times/,
    );
    await working.stop();
    await queue.close();
  });

  test.each([
    ["other code", "failing", /has other code for it; install the submitter's version/],
    ["no such paper", "nowhere", /has no such experiment/],
  ])("a worker with %s says so instead of running the unit", async (_, name, reason) => {
    const queue = await openQueue({ error: 2, lost: 5, mismatch: 1 });
    const working = inProcess(queue);
    const executor = await executorOf(queue, name, "0123456789abcdef");
    await expect(executor.run(unitOf(name, 0).unit, hooks())).rejects.toThrow(reason);
    await working.stop();
    await queue.close();
  });

  test("a worker that is asked to stop finishes what it can and gives the rest back, without blame", async () => {
    const queue = await openQueue();
    const working = inProcess(queue, 100);
    const executor = await executorOf(queue, "slow");
    const endless = { ...unitOf("slow", 0).unit, mode: "quick" as const };
    const cancel = new AbortController();
    let steps = 0;
    const outcome = executor.run(endless, {
      signal: cancel.signal,
      onProgress: ({ step }) => {
        steps = step;
      },
    });
    const refused = expect(outcome).rejects.toThrow("enough");
    while (steps === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    await working.stop();
    expect(working.lines.at(-1)).toMatch(/given back/);
    expect(await queue.status()).toMatchObject({ queued: 1, running: [], parked: [], workers: [] });
    cancel.abort(new Error("enough"));
    await refused;
    await queue.close();
  });
});
