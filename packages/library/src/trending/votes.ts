import { randomUUID } from "node:crypto";
import type { Database } from "../database/database.ts";
import type { Tokens } from "../tokens/tokens.ts";

const VOTER_LIFETIME = 2 * 365 * 86_400;

/** There is no paper with this id. */
export class UnknownPaperError extends Error {
  override readonly name = "UnknownPaperError";
}

/** Votes and runs: one vote per person and paper, one counted run per person, paper and UTC day. */
export class Votes {
  readonly #database: Database;
  readonly #tokens: Tokens;

  constructor(database: Database, tokens: Tokens) {
    this.#database = database;
    this.#tokens = tokens;
  }

  /** A new anonymous voter's token, to be kept in a cookie. It names nobody. */
  newVoter(now = new Date()): string {
    return this.#tokens.sign("voter", randomUUID(), VOTER_LIFETIME, now);
  }

  /**
   * Votes for a paper. Voting again changes nothing.
   *
   * @returns whether this vote was new
   * @throws InvalidTokenError when the voter's token is forged or expired
   * @throws UnknownPaperError
   */
  async vote(paperId: string, voterToken: string, now = new Date()): Promise<boolean> {
    const voter = this.#tokens.verify("voter", voterToken, now);
    await this.#requirePaper(paperId);
    const { numInsertedOrUpdatedRows } = await this.#database.sql
      .insertInto("vote")
      .values({ paper_id: paperId, voter, voted_at: now })
      .onConflict((conflict) => conflict.columns(["paper_id", "voter"]).doNothing())
      .executeTakeFirst();
    return numInsertedOrUpdatedRows === 1n;
  }

  /**
   * Takes a vote back.
   *
   * @returns whether there was one
   * @throws InvalidTokenError when the voter's token is forged or expired
   */
  async withdraw(paperId: string, voterToken: string, now = new Date()): Promise<boolean> {
    const voter = this.#tokens.verify("voter", voterToken, now);
    const { numDeletedRows } = await this.#database.sql
      .deleteFrom("vote")
      .where("paper_id", "=", paperId)
      .where("voter", "=", voter)
      .executeTakeFirst();
    return numDeletedRows === 1n;
  }

  /** Number of votes per paper, and which of them are the voter's own. */
  async count(
    paperIds: readonly string[],
    voterToken?: string,
    now = new Date(),
  ): Promise<Map<string, { votes: number; own: boolean }>> {
    if (paperIds.length === 0) return new Map();
    const voter = voterToken === undefined ? "" : this.#tokens.verify("voter", voterToken, now);
    const rows = await this.#database.sql
      .selectFrom("vote")
      .select(({ fn, eb }) => [
        "paper_id",
        fn.countAll<string>().as("votes"),
        fn.max(eb.case().when("voter", "=", voter).then(1).else(0).end()).as("own"),
      ])
      .where("paper_id", "in", [...paperIds])
      .groupBy("paper_id")
      .execute();
    const counted = new Map(rows.map((row) => [row.paper_id, row]));
    return new Map(
      paperIds.map((id) => {
        const row = counted.get(id);
        return [id, { votes: Number(row?.votes ?? 0), own: Number(row?.own ?? 0) === 1 }];
      }),
    );
  }

  /**
   * Records that somebody ran a paper's method.
   *
   * @param runner a voter token, or undefined for runs from the command line
   * @throws UnknownPaperError
   */
  async recordRun(paperId: string, runner?: string, now = new Date()): Promise<void> {
    const who = runner === undefined ? "local" : this.#tokens.verify("voter", runner, now);
    await this.#requirePaper(paperId);
    await this.#database.sql
      .insertInto("run")
      .values({ paper_id: paperId, runner: who, day: now.toISOString().slice(0, 10), ran_at: now })
      .onConflict((conflict) => conflict.columns(["paper_id", "runner", "day"]).doNothing())
      .execute();
  }

  async #requirePaper(id: string): Promise<void> {
    const found = await this.#database.sql
      .selectFrom("paper")
      .select("id")
      .where("id", "=", id)
      .executeTakeFirst();
    if (!found) throw new UnknownPaperError(`There is no paper ${id}`);
  }
}
