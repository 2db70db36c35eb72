import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Database } from "../database/database.ts";

/** What a token allows; one made for one purpose is worthless for another. */
export type TokenPurpose = "confirm" | "manage" | "unsubscribe" | "voter";

/** A token that is forged, damaged, expired, or meant for something else. */
export class InvalidTokenError extends Error {
  override readonly name = "InvalidTokenError";
}

const LONGEST_TOKEN = 300;
const SECRET_SETTING = "token-secret";
const SHORTEST_SECRET = 16;

/** Signs and checks the tokens in links and cookies (HMAC-SHA256). */
export class Tokens {
  readonly #secret: Buffer;

  /** @throws RangeError when the secret is shorter than 16 bytes */
  constructor(secret: string) {
    this.#secret = Buffer.from(secret);
    if (this.#secret.length < SHORTEST_SECRET)
      throw new RangeError(`The secret must have at least ${SHORTEST_SECRET} bytes`);
  }

  /**
   * @param subject whom the token is about: letters, digits and dashes
   * @param lifetime seconds from `now`
   */
  sign(purpose: TokenPurpose, subject: string, lifetime: number, now: Date): string {
    const expires = Math.floor(now.getTime() / 1000) + lifetime;
    const content = `${subject}.${expires.toString(36)}`;
    return `${content}.${this.#signature(purpose, content)}`;
  }

  /**
   * @returns the subject
   * @throws InvalidTokenError when the token is not a valid one for this purpose at this time
   */
  verify(purpose: TokenPurpose, token: string, now: Date): string {
    const found = token.length <= LONGEST_TOKEN && /^([\w-]+)\.([0-9a-z]+)\.([\w-]+)$/u.exec(token);
    if (!found) throw new InvalidTokenError("This link is damaged");
    const [, subject, expires, signature] = found as unknown as [string, string, string, string];
    const expected = Buffer.from(this.#signature(purpose, `${subject}.${expires}`));
    const given = Buffer.from(signature);
    if (given.length !== expected.length || !timingSafeEqual(given, expected))
      throw new InvalidTokenError("This link is not valid");
    if (Number.parseInt(expires, 36) * 1000 < now.getTime())
      throw new InvalidTokenError("This link has expired");
    return subject;
  }

  #signature(purpose: TokenPurpose, content: string): string {
    return createHmac("sha256", this.#secret).update(`${purpose}\n${content}`).digest("base64url");
  }
}

/**
 * The signing secret: the configured one, else one that is made once and kept in the database, so that links stay
 * valid over restarts and on all processes.
 */
export async function openTokens(database: Database, configured: string | undefined): Promise<Tokens> {
  if (configured) return new Tokens(configured);
  await database.sql
    .insertInto("setting")
    .values({ key: SECRET_SETTING, value: randomBytes(32).toString("base64url") })
    .onConflict((conflict) => conflict.column("key").doNothing())
    .execute();
  const { value } = await database.sql
    .selectFrom("setting")
    .select("value")
    .where("key", "=", SECRET_SETTING)
    .executeTakeFirstOrThrow();
  return new Tokens(value);
}
