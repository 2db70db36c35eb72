import type { Database } from "../../database/database.ts";
import { changePapers, nextRevision } from "../../database/database.ts";
import { packCodes } from "../libraryIndex.ts";
import { passages } from "../passages.ts";
import { quantize } from "../vectors/quantize.ts";
import type { Embedder } from "./embedder.ts";
import { TRANSFORMERS_PREFIX, transformersEmbedder } from "./transformers.ts";
import { universalSentenceEncoder } from "./universalSentenceEncoder.ts";

/** Name of the embedder that works offline after installation. */
export const DEFAULT_EMBEDDER = "universal-sentence-encoder-lite";

const ACTIVE_MODEL = "embedding-model";
const BATCH = 64;

/** Finds the embedder for a model name. */
export type EmbedderFactory = (model: string) => Promise<Embedder>;

/** @throws Error when nobody knows the model */
export const createEmbedder: EmbedderFactory = async (model) => {
  if (model === DEFAULT_EMBEDDER) return universalSentenceEncoder();
  if (model.startsWith(TRANSFORMERS_PREFIX))
    return transformersEmbedder(model.slice(TRANSFORMERS_PREFIX.length));
  throw new Error(`Unknown embedding model ${model}: use ${DEFAULT_EMBEDDER} or ${TRANSFORMERS_PREFIX}NAME`);
};

/**
 * Embeds papers and questions, and changes models without a gap: while papers are embedded with the configured model,
 * questions are still answered with the one before, and the switch happens when the last paper is done.
 */
export class Embeddings {
  readonly #database: Database;
  readonly #configured: string;
  readonly #create: EmbedderFactory;
  readonly #embedders = new Map<string, Promise<Embedder>>();

  constructor(database: Database, configured = DEFAULT_EMBEDDER, create = createEmbedder) {
    this.#database = database;
    this.#configured = configured;
    this.#create = create;
  }

  /** The model whose vectors answer questions now; undefined before anything was embedded. */
  async activeModel(): Promise<string | undefined> {
    const row = await this.#database.sql
      .selectFrom("setting")
      .select("value")
      .where("key", "=", ACTIVE_MODEL)
      .executeTakeFirst();
    return row?.value;
  }

  /** The model that {@link activeModel} names and the newest revision of a paper, in one query. */
  async state(): Promise<{ model: string | undefined; revision: bigint }> {
    const { sql } = this.#database;
    const state = await sql
      .selectNoFrom([
        sql.selectFrom("setting").select("value").where("key", "=", ACTIVE_MODEL).as("model"),
        sql
          .selectFrom("paper")
          .select(({ fn }) => fn.max("revision").as("newest"))
          .as("revision"),
      ])
      .executeTakeFirstOrThrow();
    return { model: state.model ?? undefined, revision: BigInt(state.revision ?? 0) };
  }

  /** The quantized vector of a question, or undefined when the active model cannot be loaded any more. */
  async embedQuestion(model: string, question: string): Promise<Int8Array | undefined> {
    try {
      const [vector] = await (await this.#embedder(model)).embed([question]);
      return quantize(vector!);
    } catch (error) {
      if (model === this.#configured) throw error;
      return undefined;
    }
  }

  /**
   * Embeds every paper that has no vectors of the configured model, then makes that model the active one.
   * Stopping at any point loses at most one batch of work.
   *
   * @param onProgress called with the number of papers embedded so far
   * @returns how many papers were embedded
   */
  async embedPending({
    signal,
    onProgress,
  }: {
    signal?: AbortSignal | undefined;
    onProgress?: ((embedded: number) => void) | undefined;
  } = {}): Promise<number> {
    let embedded = 0;
    for (;;) {
      signal?.throwIfAborted();
      const count = await this.#embedBatch();
      if (count === 0) break;
      embedded += count;
      onProgress?.(embedded);
    }
    await this.#activate();
    return embedded;
  }

  async #embedBatch(): Promise<number> {
    const model = this.#configured;
    const papers = await this.#database.sql
      .selectFrom("paper")
      .leftJoin("embedding", (join) => join.onRef("paper_id", "=", "id").on("model", "=", model))
      .select(["id", "title", "problem", "summary", "keywords", "content_hash"])
      .where("embedding.paper_id", "is", null)
      .orderBy("id")
      .limit(BATCH)
      .execute();
    if (papers.length === 0) return 0;
    const embedder = await this.#embedder(model);
    const packed: { id: string; hash: string; codes: Uint8Array }[] = [];
    for (const paper of papers) {
      const vectors = await embedder.embed(passages(paper));
      packed.push({ id: paper.id, hash: paper.content_hash, codes: packCodes(vectors.map(quantize)) });
    }
    await this.#store(model, packed);
    return papers.length;
  }

  async #store(model: string, packed: { id: string; hash: string; codes: Uint8Array }[]): Promise<void> {
    await changePapers(this.#database, async (transaction) => {
      const unchanged = await transaction
        .selectFrom("paper")
        .select(["id", "content_hash"])
        .where(
          "id",
          "in",
          packed.map(({ id }) => id),
        )
        .execute();
      const hashes = new Map(unchanged.map(({ id, content_hash }) => [id, content_hash]));
      // A paper that changed meanwhile keeps no vector of its old text; the next batch takes it again.
      const current = packed.filter(({ id, hash }) => hashes.get(id) === hash);
      if (current.length === 0) return;
      await transaction
        .insertInto("embedding")
        .values(current.map(({ id, codes }) => ({ paper_id: id, model, codes })))
        .onConflict((conflict) => conflict.columns(["paper_id", "model"]).doNothing())
        .execute();
      await transaction
        .updateTable("paper")
        .set({ revision: nextRevision })
        .where(
          "id",
          "in",
          current.map(({ id }) => id),
        )
        .execute();
    });
  }

  async #activate(): Promise<void> {
    const model = this.#configured;
    if ((await this.activeModel()) === model) return;
    await this.#database.sql.transaction().execute(async (transaction) => {
      await transaction
        .insertInto("setting")
        .values({ key: ACTIVE_MODEL, value: model })
        .onConflict((conflict) => conflict.column("key").doUpdateSet({ value: model }))
        .execute();
      await transaction.deleteFrom("embedding").where("model", "!=", model).execute();
    });
  }

  #embedder(model: string): Promise<Embedder> {
    let embedder = this.#embedders.get(model);
    if (!embedder) {
      embedder = this.#create(model);
      this.#embedders.set(model, embedder);
      // A failed load is tried again the next time.
      embedder.catch(() => this.#embedders.delete(model));
    }
    return embedder;
  }
}
