import { sql } from "kysely";
import { openDatabase } from "../database/database.ts";
import { quantize } from "../search/vectors/quantize.ts";
import { VectorIndex } from "../search/vectors/vectorIndex.ts";
import { seededRandom } from "./syntheticPapers.ts";

const DIMENSIONS = 512;
const VECTORS = 10_000;
const QUESTIONS = 20;
const INSERTED_AT_ONCE = 500;
const NEIGHBOURS = 10;

/** Mean milliseconds to find the nearest ten of 10,000 vectors. */
export interface VectorTimes {
  readonly kernel: number;
  readonly pgvector: number;
}

/**
 * Compares our scan with pgvector's exact search, embedded, on the same vectors.
 *
 * @throws Error when the two disagree about the nearest vector
 */
export async function compareVectorSearch(): Promise<VectorTimes> {
  const random = seededRandom(3);
  const vectors = Array.from({ length: VECTORS + QUESTIONS }, () =>
    quantize(Float32Array.from({ length: DIMENSIONS }, () => random() - 0.5)),
  );
  const stored = vectors.slice(0, VECTORS);
  const questions = vectors.slice(VECTORS);
  const index = new VectorIndex(DIMENSIONS);
  stored.forEach((codes, document) => {
    index.add(document, codes);
  });
  const database = await openDatabase({});
  try {
    await sql`create table peer (id integer primary key, codes vector(${sql.lit(DIMENSIONS)}))`.execute(
      database.sql,
    );
    for (let start = 0; start < VECTORS; start += INSERTED_AT_ONCE) {
      const rows = stored
        .slice(start, start + INSERTED_AT_ONCE)
        .map((codes, offset) => sql`(${start + offset}, ${JSON.stringify([...codes])})`);
      await sql`insert into peer values ${sql.join(rows)}`.execute(database.sql);
    }
    const times = { kernel: 0, pgvector: 0 };
    for (const question of questions) {
      const start = performance.now();
      const [ours] = index.nearest(question, NEIGHBOURS, () => true);
      const middle = performance.now();
      const { rows } = await sql<{ id: number }>`
        select id from peer order by codes <=> ${JSON.stringify([...question])}::vector limit ${NEIGHBOURS}
      `.execute(database.sql);
      times.kernel += (middle - start) / QUESTIONS;
      times.pgvector += (performance.now() - middle) / QUESTIONS;
      if (rows[0]!.id !== ours!.document) throw new Error("pgvector and the kernel disagree");
    }
    return times;
  } finally {
    await database.close();
  }
}
