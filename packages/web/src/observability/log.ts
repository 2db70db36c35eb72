import { type DestinationStream, pino } from "pino";

export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Facts beside a message, such as a request's id. */
export type LogFields = Readonly<Record<string, string | number | boolean>>;

/** Where the running site says what happens. Mail addresses never get in, whoever wrote the message. */
export interface Log {
  /** What whoever runs the site should read. */
  notice(message: string, fields?: LogFields): void;
  /** Something failed. */
  error(message: string, fields?: LogFields): void;
  /** One for every request: left out of the text format, which is for a person at a terminal. */
  request(fields: LogFields): void;
}

/** Mail servers put the recipient into their refusals, and some errors quote connection strings. */
export const withoutSecrets = (text: string): string =>
  text
    .replaceAll(/\b([a-z][a-z0-9+.-]*):\/\/[^\s/@]+@/gi, "$1://…@")
    .replaceAll(/[^\s<>"]+@[^\s<>"]+/g, "(address)");

/**
 * @param format `json` writes a line with level, time, message and facts for each event; `text` writes `prior-art: …`
 * @param write takes a line with its end
 */
export function createLog(format: LogFormat, write: (line: string) => void): Log {
  if (format === "text") {
    const line = (message: string) => write(`prior-art: ${withoutSecrets(message)}\n`);
    return {
      notice: line,
      error: (message, fields) => line(fields?.requestId ? `${fields.requestId}: ${message}` : message),
      request: () => undefined,
    };
  }
  const destination: DestinationStream = { write };
  const logger = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return {
    notice: (message, fields = {}) => logger.info(fields, withoutSecrets(message)),
    error: (message, fields = {}) => logger.error(fields, withoutSecrets(message)),
    request: (fields) => logger.info(fields, "request"),
  };
}
