import { join } from "node:path";
import { ConfigurationError } from "../configuration.ts";
import { type Mailer, outboxMailer, smtpMailer } from "./mailer.ts";

/** How mail leaves and where its links lead. */
export interface MailSettings {
  /** `smtp://` or `smtps://` address; without it mails are written to files. */
  readonly smtpUrl: string | undefined;
  readonly outbox: string;
  readonly from: string;
  /** Address of the site without a slash at the end. */
  readonly site: string;
}

/**
 * Reads SMTP_URL, MAIL_FROM and PRIOR_ART_SITE.
 *
 * @throws ConfigurationError when one of them makes no sense
 */
export function mailSettingsFrom(environment: NodeJS.ProcessEnv): MailSettings {
  const smtpUrl = environment.SMTP_URL || undefined;
  if (smtpUrl && !/^smtps?:$/u.test(URL.canParse(smtpUrl) ? new URL(smtpUrl).protocol : ""))
    // The value may contain a password, so it is not repeated.
    throw new ConfigurationError("SMTP_URL must look like smtp://user:password@host:587");
  const site = (environment.PRIOR_ART_SITE || "http://localhost:3000").replace(/\/+$/u, "");
  if (!URL.canParse(site)) throw new ConfigurationError("PRIOR_ART_SITE must be a web address");
  const from = environment.MAIL_FROM || "Prior Art <digest@localhost>";
  if (/[\p{Cc}]/u.test(from) || !from.includes("@"))
    throw new ConfigurationError("MAIL_FROM must be a mail address");
  return { smtpUrl, outbox: join(environment.PRIOR_ART_DATA || "data", "outbox"), from, site };
}

export function createMailer({ smtpUrl, outbox, from }: MailSettings): Mailer {
  return smtpUrl ? smtpMailer(smtpUrl, from) : outboxMailer(outbox, from);
}
