import { mkdir, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import MailComposer from "nodemailer/lib/mail-composer/index.js";

/** What a person reads. */
export interface Mail {
  readonly subject: string;
  readonly html: string;
  readonly text: string;
}

/** A mail with its envelope. */
export interface Letter extends Mail {
  readonly to: string;
  /** The same for every attempt to send this letter, so that mail systems recognize a repeated one. */
  readonly messageId: string;
  /** Address for one-click unsubscription (RFC 8058); transactional mails have none. */
  readonly unsubscribe?: string;
  readonly date: Date;
}

/** The mail was refused for good; sending it again is useless. */
export class MailRefusedError extends Error {
  override readonly name = "MailRefusedError";
}

/** Hands letters over. */
export interface Mailer {
  /**
   * Resolves when the letter is in safe hands.
   *
   * @throws MailRefusedError when the address does not take mail
   * @throws Error when the attempt failed and a later one may succeed
   */
  send(letter: Letter): Promise<void>;
  close(): void;
}

const SMTP_TIMEOUT = 30_000;
const PERMANENT_FAILURE = 500;

/** Sends through an SMTP server, over one connection that is kept open. */
export function smtpMailer(address: string, from: string): Mailer {
  const transport = createTransport({
    url: address,
    pool: true,
    maxConnections: 1,
    maxMessages: Number.POSITIVE_INFINITY,
    connectionTimeout: SMTP_TIMEOUT,
    greetingTimeout: SMTP_TIMEOUT,
    socketTimeout: SMTP_TIMEOUT,
    disableFileAccess: true,
    disableUrlAccess: true,
  } as Parameters<typeof createTransport>[0]);
  return {
    async send(letter) {
      try {
        await transport.sendMail(message(letter, from));
      } catch (error) {
        const { responseCode = 0, command } = error as { responseCode?: number; command?: string };
        // Only a refused recipient says something about the address; other refusals are about us.
        if (responseCode >= PERMANENT_FAILURE && command === "RCPT TO")
          throw new MailRefusedError(`The server refused the address (${responseCode})`, { cause: error });
        throw error;
      }
    },
    close: () => transport.close(),
  };
}

/**
 * Writes letters as `.eml` files. The name follows from the letter and files appear whole, so a repeated attempt
 * replaces the file instead of adding one.
 */
export function outboxMailer(folder: string, from: string): Mailer {
  return {
    async send(letter) {
      await mkdir(folder, { recursive: true });
      const content = await new MailComposer(message(letter, from)).compile().build();
      const name = letter.messageId.replace(/[^\w@.-]/gu, "_");
      const unfinished = join(folder, `.${name}.${process.pid}`);
      const file = await open(unfinished, "w");
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(unfinished, join(folder, `${name}.eml`));
    },
    close: () => undefined,
  };
}

function message(letter: Letter, from: string) {
  const { to, subject, html, text, messageId, unsubscribe, date } = letter;
  return {
    from,
    to: { name: "", address: to },
    subject,
    html,
    text,
    messageId: `<${messageId}>`,
    date,
    headers: unsubscribe
      ? { "List-Unsubscribe": `<${unsubscribe}>`, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click" }
      : { "Auto-Submitted": "auto-generated" },
  };
}
