import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ParsedMail, simpleParser } from "mailparser";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { afterEach, describe, expect, test } from "vitest";
import { ConfigurationError } from "../configuration.ts";
import type { Library } from "../library.ts";
import { sendConfirmation } from "../subscriptions/sendConfirmation.ts";
import { describeOnEachDatabase, describeOnServer } from "../testing/databases.ts";
import { builtIn, NOON } from "../testing/papers.ts";
import { type Letter, type Mailer, MailRefusedError, outboxMailer, smtpMailer } from "./mailer.ts";
import { mailSettingsFrom } from "./mailSettings.ts";
import { previewDigests, sendDigests } from "./sendDigests.ts";

const SITE = "https://papers.example.org";
const FROM = "Prior Art <digest@papers.example.org>";
const cleanUp: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  // Connections close before the server they lead to.
  for (const task of cleanUp.splice(0).reverse()) await task();
});

function outbox(): string {
  const folder = mkdtempSync(join(tmpdir(), "library-outbox-"));
  cleanUp.push(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A mail server on loopback that keeps what it receives. */
async function mailServer(options: SMTPServerOptions = {}): Promise<{ url: string; received: ParsedMail[] }> {
  const received: ParsedMail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS", "AUTH"],
    onData(stream, _session, done) {
      simpleParser(stream).then((mail) => {
        received.push(mail);
        done();
      }, done);
    },
    ...options,
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  cleanUp.push(() => new Promise((resolve) => server.close(() => resolve())));
  return { url: `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`, received };
}

async function subscriber(library: Library, request: object = {}): Promise<string> {
  const wish = { email: "ada@example.org", hour: 0, ...request };
  const { confirmation, subscriberId } = await library.subscriptions.subscribe(wish, NOON);
  await library.subscriptions.confirm(confirmation!, NOON);
  return subscriberId;
}

const later = (hours: number) => () => new Date(NOON.getTime() + hours * 3_600_000);

/** Keeps letters in memory. */
function collecting(): Mailer & { letters: Letter[] } {
  const letters: Letter[] = [];
  return {
    letters,
    send: async (letter) => {
      letters.push(letter);
    },
    close: () => undefined,
  };
}

describeOnEachDatabase("digests", (bed) => {
  const run = (mailer: Mailer, now = () => NOON) => sendDigests(bed().library, { mailer, site: SITE, now });

  test("reach an SMTP server with both parts, links that work, and one-click unsubscription", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("weight-decay"), builtIn("dropout")], NOON);
    await subscriber(library);
    const { url, received } = await mailServer();
    const mailer = smtpMailer(url, FROM);
    cleanUp.push(() => mailer.close());
    expect(await run(mailer)).toEqual({ sent: 1, skipped: 0, bounced: 0, failed: 0, problems: [] });
    const [mail] = received;
    expect(mail!.subject).toBe("2 papers trending today");
    expect(mail!.from!.text).toBe('"Prior Art" <digest@papers.example.org>');
    expect(mail!.text).toContain("About weight decay");
    expect(mail!.html).toContain(`href="${SITE}/papers/weight-decay"`);
    expect(mail!.html).not.toMatch(/<img|<link|url\(|@import/);
    const headers = mail!.headerLines.map(({ line }) => line.replace(/\r\n\s+/g, " "));
    expect(headers).toContain("List-Unsubscribe-Post: List-Unsubscribe=One-Click");
    const link = /^List-Unsubscribe: <(.*)>$/.exec(
      headers.find((line) => line.startsWith("List-Unsubscribe:"))!,
    )![1]!;
    expect(mail!.html).toContain(`href="${link}"`);
    expect(mail!.text).toContain(link);
    const token = link.slice(`${SITE}/unsubscribe/`.length);
    expect(await library.subscriptions.unsubscribe(token, NOON)).toMatchObject({ state: "unsubscribed" });
    const manage = /\/subscription\/([\w.-]+)"/.exec(mail!.html as string)![1]!;
    expect(await library.subscriptions.manage(manage, NOON)).toMatchObject({ email: "ada@example.org" });
  });

  test("third-party text appears as text, in every part and header", async () => {
    const { library } = bed();
    const evil = `<script>alert(1)</script><img src=x onerror=alert(1)> &amp; "quotes" \r\nBcc: eve@example.org`;
    const paper = builtIn("evil", {
      title: evil,
      summary: evil,
      authors: [evil],
      problem: evil,
      keywords: [evil],
    });
    await library.syncCollection([paper], NOON);
    await subscriber(library);
    const { url, received } = await mailServer();
    const mailer = smtpMailer(url, FROM);
    cleanUp.push(() => mailer.close());
    await run(mailer);
    const [mail] = received;
    expect(mail!.html).not.toMatch(/<script|<img/);
    expect(mail!.html).toContain("&lt;script&gt;");
    expect(mail!.subject).toContain("<script>alert(1)</script>");
    expect(mail!.headers.has("bcc")).toBe(false);
    expect(mail!.bcc).toBeUndefined();
    expect((mail!.to as { text: string }).text).toBe("ada@example.org");
  });

  test("without SMTP they are files in the outbox, one per subscriber and day however often a run is repeated", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("weight-decay")], NOON);
    await subscriber(library);
    const folder = outbox();
    const mailer = outboxMailer(folder, FROM);
    await run(mailer);
    await run(mailer);
    const [name, ...others] = readdirSync(folder);
    expect(others).toEqual([]);
    const mail = await simpleParser(readFileSync(join(folder, name!)));
    expect(mail).toMatchObject({ subject: "Trending: About weight decay", date: NOON });
  });

  test("come on the next day with papers that were not sent before, or not at all", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one")], NOON);
    await subscriber(library);
    const mailer = collecting();
    expect(await run(mailer)).toMatchObject({ sent: 1 });
    expect(await run(mailer, later(1))).toMatchObject({ sent: 0, skipped: 0 });
    expect(await run(mailer, later(24))).toMatchObject({ sent: 0, skipped: 1 });
    await library.syncCollection([builtIn("one"), builtIn("two")], later(40)());
    expect(await run(mailer, later(48))).toMatchObject({ sent: 1 });
    expect(mailer.letters.map(({ subject }) => subject)).toEqual([
      "Trending: About one",
      "Trending: About two",
    ]);
  });

  test("contain what somebody wished for: topics, families, saved searches", async () => {
    const { library } = bed();
    const papers = [
      builtIn("sinkhorn-divergence", { family: "optimal-transport" }),
      builtIn("weight-decay", { family: "optimizers" }),
      builtIn("noisy-labels", { family: "robustness" }),
    ];
    await library.syncCollection(papers, NOON);
    await subscriber(library, { email: "topic@x.org", topics: ["noisy label"] });
    await subscriber(library, { email: "family@x.org", families: ["optimizers"] });
    await subscriber(library, { email: "search@x.org", searches: ["sinkhorn divergence"] });
    await subscriber(library, { email: "none@x.org", topics: ["quantum gravity"] });
    await subscriber(library, { email: "all@x.org" });
    const mailer = collecting();
    expect(await run(mailer)).toMatchObject({ sent: 4, skipped: 1 });
    const subjects = Object.fromEntries(mailer.letters.map(({ to, subject }) => [to, subject]));
    expect(subjects).toMatchObject({
      "topic@x.org": "Trending: About noisy labels",
      "family@x.org": "Trending: About weight decay",
      "all@x.org": "3 papers trending today",
    });
    const found = mailer.letters.find(({ to }) => to === "search@x.org")!;
    expect(found.text).toContain("About sinkhorn divergence");
  });

  test("refused addresses are suspended after three days and others are not disturbed", async () => {
    const { library } = bed();
    await subscriber(library, { email: "gone@example.org" });
    const id = (await library.subscriptions.get(await subscriber(library, { email: "here@example.org" })))!
      .id;
    const { url } = await mailServer({
      onRcptTo({ address }, _session, done) {
        const refusal = Object.assign(new Error("No such user"), { responseCode: 550 });
        done(address.startsWith("gone") ? refusal : null);
      },
    });
    const mailer = smtpMailer(url, FROM);
    cleanUp.push(() => mailer.close());
    for (let day = 0; day < 4; day++) {
      await library.syncCollection(
        Array.from({ length: day + 1 }, (_, index) => builtIn(`paper-${index}`)),
        later(24 * day)(),
      );
      const report = await run(mailer, later(24 * day));
      expect(report).toEqual({ sent: 1, skipped: 0, bounced: day < 3 ? 1 : 0, failed: 0, problems: [] });
    }
    expect(await library.subscriptions.get(id)).toMatchObject({ state: "active" });
  });

  test("a failed attempt is repeated by the next run", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one")], NOON);
    await subscriber(library);
    const broken: Mailer = {
      send: () => Promise.reject(new Error("connection lost")),
      close: () => undefined,
    };
    expect(await run(broken)).toMatchObject({ failed: 1, problems: ["connection lost"] });
    expect(await run(collecting())).toMatchObject({ sent: 1 });
  });

  test("a temporary refusal is no bounce", async () => {
    const { url } = await mailServer({
      onRcptTo(_address, _session, done) {
        done(Object.assign(new Error("Try later"), { responseCode: 451 }));
      },
    });
    const mailer = smtpMailer(url, FROM);
    cleanUp.push(() => mailer.close());
    const letter = { to: "a@b.c", subject: "s", html: "h", text: "t", messageId: "m@x", date: NOON };
    await expect(mailer.send(letter)).rejects.not.toBeInstanceOf(MailRefusedError);
  });

  test("a preview shows the mails of a run and leaves no trace", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one")], NOON);
    await subscriber(library);
    const previews = await previewDigests(library, { site: SITE, now: NOON });
    const mailer = collecting();
    await run(mailer);
    expect(previews).toEqual(mailer.letters);
    expect(await previewDigests(library, { site: SITE, now: NOON })).toEqual([]);
  });

  test("a claim that another run left behind is taken over only when it has expired", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one")], NOON);
    await subscriber(library);
    const stuck = new AbortController();
    const killed: Mailer = {
      send: async () => {
        stuck.abort();
        // Nothing follows in a process that was killed here: the claim stays.
        await new Promise(() => undefined);
      },
      close: () => undefined,
    };
    run(killed);
    await new Promise((resolve) => stuck.signal.addEventListener("abort", resolve));
    const mailer = collecting();
    expect(await run(mailer, later(0.1))).toMatchObject({ sent: 0 });
    expect(await run(mailer, later(0.2))).toMatchObject({ sent: 1 });
  });

  test("a confirmation mail leads to the confirmation, once", async () => {
    const { library } = bed();
    const { url, received } = await mailServer();
    const mailer = smtpMailer(url, FROM);
    cleanUp.push(() => mailer.close());
    for (let attempt = 0; attempt < 2; attempt++) {
      const request = await library.subscriptions.subscribe({ email: "ada@example.org" }, NOON);
      await sendConfirmation(request, { mailer, site: SITE, now: NOON });
    }
    expect(received).toHaveLength(1);
    const token = /\/confirm\/([\w.-]+)/.exec(received[0]!.text!)![1]!;
    expect(await library.subscriptions.confirm(token, NOON)).toMatchObject({ state: "active" });
  });
});

describeOnServer("digests of several processes", (bed) => {
  test("five runs at the same time send each mail once", async () => {
    const { library, openAgain } = bed();
    await library.syncCollection([builtIn("one")], NOON);
    for (let index = 0; index < 100; index++) await subscriber(library, { email: `s${index}@example.org` });
    const mailer = collecting();
    const libraries = [library, ...(await Promise.all(Array.from({ length: 4 }, () => openAgain())))];
    const reports = await Promise.all(
      libraries.map((each) => sendDigests(each, { mailer, site: SITE, now: () => NOON })),
    );
    expect(reports.reduce((sum, { sent }) => sum + sent, 0)).toBe(100);
    expect(new Set(mailer.letters.map(({ to }) => to)).size).toBe(100);
    expect(mailer.letters).toHaveLength(100);
  });
});

describe("mail settings", () => {
  test("come from the environment and never repeat a password", () => {
    expect(mailSettingsFrom({})).toMatchObject({ smtpUrl: undefined, site: "http://localhost:3000" });
    expect(
      mailSettingsFrom({ SMTP_URL: "smtps://a:b@mail:465", PRIOR_ART_SITE: "https://x.org/" }),
    ).toMatchObject({
      smtpUrl: "smtps://a:b@mail:465",
      site: "https://x.org",
    });
    const wrong = () => mailSettingsFrom({ SMTP_URL: "http://user:hunter2@mail" });
    expect(wrong).toThrow(ConfigurationError);
    expect(wrong).not.toThrow("hunter2");
    expect(() => mailSettingsFrom({ MAIL_FROM: "a@b.c\nBcc: x@y.z" })).toThrow("MAIL_FROM");
  });
});
