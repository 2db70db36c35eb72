import { expect, test } from "vitest";
import { writePapers } from "../collection/writePapers.ts";
import type { Letter, Mailer } from "../digest/mailer.ts";
import type { Library } from "../library.ts";
import { describeOnEachDatabase, describeOnServer } from "../testing/databases.ts";
import { builtIn, draft, NOON } from "../testing/papers.ts";
import { type Job, type SchedulerOptions, startScheduler } from "./scheduler.ts";

const SITE = "https://papers.example.org";

/** Starts a scheduler whose finished jobs can be awaited. */
async function start(library: Library, options: Partial<SchedulerOptions> = {}) {
  const waiting = new Map<Job, (report: unknown) => void>();
  const letters: Letter[] = [];
  const mailer: Mailer = {
    send: async (letter) => {
      letters.push(letter);
    },
    close: () => undefined,
  };
  const scheduler = await startScheduler(library, {
    mailer,
    site: SITE,
    sources: [],
    pollSeconds: 0.5,
    onFinished: ({ job, report }) => waiting.get(job)?.(report),
    ...options,
  });
  const run = async (job: Job) => {
    const finished = new Promise((resolve) => waiting.set(job, resolve));
    await scheduler.trigger(job);
    return finished;
  };
  return { scheduler, run, letters };
}

describeOnEachDatabase("scheduler", (bed) => {
  test("runs digests, sync and embedding in the library's own database, and stops", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one")], new Date());
    const { confirmation } = await library.subscriptions.subscribe({ email: "a@example.org", hour: 0 });
    await library.subscriptions.confirm(confirmation!);
    const { scheduler, run, letters } = await start(library);
    try {
      expect(await run("digest")).toMatchObject({ sent: 1 });
      expect(letters).toMatchObject([{ to: "a@example.org" }]);
      expect(await run("sync")).toEqual([]);
      await writePapers(library.database, [draft({ title: "Two" })], { source: "import", now: NOON });
      expect(await run("embed")).toEqual({ embedded: 1 });
    } finally {
      await scheduler.stop();
    }
  });

  test("a failing job is reported and does not stop the others", async () => {
    const { library } = bed();
    let report!: (error: Error) => void;
    const failed = new Promise<Error>((resolve) => {
      report = resolve;
    });
    const broken = {
      name: "x",
      url: "no address",
      format: "bibtex",
      everyMinutes: 1,
      secondsBetweenPages: 0,
    } as const;
    const { scheduler, run } = await start(library, { sources: [broken], onError: report });
    try {
      await scheduler.trigger("sync");
      expect((await failed).message).toContain("Invalid URL");
      expect(await run("embed")).toEqual({ embedded: 0 });
    } finally {
      await scheduler.stop();
    }
  });
});

describeOnServer("schedulers of several processes", (bed) => {
  test("share one queue", async () => {
    const { library, openAgain } = bed();
    const other = await openAgain();
    const first = await start(library);
    const second = await start(other);
    try {
      const finished = Promise.race([first.run("embed"), second.run("embed")]);
      expect(await finished).toEqual({ embedded: 0 });
    } finally {
      await Promise.all([first.scheduler.stop(), second.scheduler.stop()]);
    }
  });
});
