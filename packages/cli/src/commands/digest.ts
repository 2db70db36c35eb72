import {
  ConfigurationError,
  createMailer,
  type Letter,
  type MailSettings,
  mailSettingsFrom,
  previewDigests,
  sampleDigest,
  sendDigests,
} from "@prior-art/library";
import { type Command, InvalidArgumentError } from "commander";
import { dataOption } from "../dataFolder.ts";
import { notice } from "../notice.ts";
import { UsageError } from "../usage.ts";
import { databaseOption, type LibraryLocation, withLibrary } from "./search.ts";

interface DigestOptions extends LibraryLocation {
  /** The moment for which mails are due. */
  readonly date?: Date;
  readonly dryRun?: boolean;
}

export function register(program: Command): void {
  program
    .command("digest")
    .description("send the mails that are due, each once per subscriber and day")
    .option("--date <date>", "as at the end of this day (UTC), YYYY-MM-DD", endOfDay)
    .option("--dry-run", "show the mails instead of sending them")
    .addOption(dataOption())
    .addOption(databaseOption())
    .action(digest);
}

async function digest(options: DigestOptions): Promise<void> {
  const settings = mailSettings(options.data);
  const now = options.date ?? new Date();
  await withLibrary(options, async (library) => {
    if (options.dryRun) {
      const due = await previewDigests(library, { site: settings.site, now });
      if (due.length === 0) notice("no mail is due; this is what a new subscriber would get");
      const letters = due.length > 0 ? due : [await sampleDigest(library, { site: settings.site, now })];
      process.stdout.write(letters.map((letter) => toText(letter, settings)).join("\n"));
      return;
    }
    const mailer = createMailer(settings);
    try {
      const report = await sendDigests(library, { mailer, site: settings.site, now: clock(options.date) });
      const place = settings.smtpUrl ? "" : ` to ${settings.outbox}`;
      const { sent, skipped, bounced, failed, problems } = report;
      process.stdout.write(
        `${sent} sent${place}, ${skipped} without news, ${bounced} refused, ${failed} failed\n`,
      );
      for (const problem of problems) notice(problem);
      if (failed > 0) process.exitCode = 1;
    } finally {
      mailer.close();
    }
  });
}

const clock = (date: Date | undefined) => () => date ?? new Date();

/** Mail settings from the environment. @throws UsageError when they contradict each other */
export function mailSettings(data: string): MailSettings {
  try {
    return mailSettingsFrom({ ...process.env, PRIOR_ART_DATA: data });
  } catch (error) {
    throw error instanceof ConfigurationError ? new UsageError(error.message) : error;
  }
}

function toText({ to, subject, text }: Letter, { from }: MailSettings): string {
  return `From: ${from}\nTo: ${to}\nSubject: ${subject}\n\n${text}\n`;
}

function endOfDay(text: string): Date {
  const date = new Date(`${text}T23:59:59Z`);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text) || Number.isNaN(date.getTime()))
    throw new InvalidArgumentError("It must be a date like 2026-03-31.");
  return date;
}
