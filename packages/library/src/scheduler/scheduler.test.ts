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

describeOnEachDatabase("a scheduler that is stopped", (bed) => {
  test("a job that is stopped half-way goes back to the queue and is done at the next start", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one")], new Date());
    const emails = ["a@example.org", "b@example.org"];
    for (const email of emails) {
      const { confirmation } = await library.subscriptions.subscribe({ email, hour: 0 });
      await library.subscriptions.confirm(confirmation!);
    }
    const sent: string[] = [];
    let begun!: () => void;
    const firstLetter = new Promise<void>((resolve) => {
      begun = resolve;
    });
    // The first letter is on its way when the process is asked to stop.
    const mailer: Mailer = {
      send: async ({ to }) => {
        sent.push(to);
        begun();
        await new Promise((resolve) => setTimeout(resolve, 100));
      },
      close: () => undefined,
    };
    const errors: Error[] = [];
    const { scheduler } = await start(library, { mailer, onError: (error) => errors.push(error) });
    await scheduler.trigger("digest");
    await firstLetter;
    await scheduler.stop();
    expect(errors).toEqual([]);
    const { rows } = await library.database.execute(
      "select state from jobs.job where name = 'digest' order by created_on desc",
    );
    expect(rows.map(({ state }) => state)).toContain("retry");
    const again = await start(library, { mailer });
    try {
      while (sent.length < 2) await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      await again.scheduler.stop();
    }
    expect([...sent].sort()).toEqual(emails);
  });
});

describeOnServer("schedulers of several processes", (bed) => {
  test("start together on a new server", async () => {
    const { library, openAgain } = bed();
    const libraries = [library, ...(await Promise.all(Array.from({ length: 4 }, openAgain)))];
    const started = await Promise.all(libraries.map((each) => start(each)));
    try {
      expect(await started[0]!.scheduler.waiting()).toEqual({ digest: 0, sync: 0, embed: 0 });
    } finally {
      await Promise.all(started.map(({ scheduler }) => scheduler.stop()));
    }
  });

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
