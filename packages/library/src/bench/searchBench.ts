import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { BuiltInPaper } from "../collection/builtIn.ts";
import type { PaperDraft } from "../collection/paper.ts";
import { writePapers } from "../collection/writePapers.ts";
import type { DatabaseLocation } from "../database/database.ts";
import { type Library, openLibrary } from "../library.ts";
import type { Embedder } from "../search/embedding/embedder.ts";
import { DEFAULT_EMBEDDER } from "../search/embedding/embeddings.ts";
import { universalSentenceEncoder } from "../search/embedding/universalSentenceEncoder.ts";
import { passages } from "../search/passages.ts";
import questions from "../search/relevance.questions.json" with { type: "json" };
import { type Relevance, relevanceByCategory } from "../search/relevance.ts";
import type { SearchRequest } from "../search/search.ts";
import { postgresPrograms, startPostgres } from "../testing/postgresServer.ts";
import { seededRandom, syntheticPapers } from "./syntheticPapers.ts";
import { compareVectorSearch } from "./vectorBench.ts";

/** One measurement beside a peer's or a target. */
export interface BenchRow {
  readonly suite: "search";
  readonly case: string;
  readonly ours: number;
  readonly peer: number;
  readonly peerName: string;
  /** Above 1 when we are better. */
  readonly ratio: number;
  readonly unit: string;
}

export interface SearchBenchOptions {
  readonly json: boolean;
  /** The built-in collection. */
  readonly papers: readonly BuiltInPaper[];
  /** A server on which a database may be created and dropped; one is started where PostgreSQL is installed. */
  readonly databaseUrl?: string | undefined;
  /** Synthetic papers; 100,000 when left out. */
  readonly scale?: number;
  /** Says on standard error what is going on or left out. */
  readonly notice?: (message: string) => void;
}

const SCALE = 100_000;
const WRITE_BATCH = 500;
const ENCODED_SAMPLE = 50;

/** Measures relevance on the collection, then speed on synthetic papers, embedded and on PostgreSQL. */
export async function runSearchBench(options: SearchBenchOptions): Promise<BenchRow[]> {
  const { papers, scale = SCALE, notice = () => undefined } = options;
  const rows = await measureRelevance(papers);
  const vectors = await compareVectorSearch();
  const nearest = "nearest 10 of 10,000 vectors, exact";
  rows.push(row(nearest, vectors.kernel, vectors.pgvector, "pgvector, embedded", "ms"));
  notice(`making ${scale} synthetic papers`);
  const drafts = [...syntheticPapers(papers, scale, new Date())];
  const folder = mkdtempSync(join(tmpdir(), "library-bench-"));
  try {
    notice("measuring the embedded database");
    rows.push(...(await measureSpeed("embedded", { dataDir: folder }, drafts, 30)));
    const bytes = folderSize(folder);
    rows.push(
      row("database size, embedded", bytes / drafts.length, textSize(drafts), "text alone", "bytes/paper"),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  await withServerDatabase(options.databaseUrl, notice, async (databaseUrl) => {
    notice("measuring the PostgreSQL server");
    rows.push(...(await measureSpeed("PostgreSQL", { databaseUrl }, drafts, 15)));
    rows.push(...(await measureServerFullText(databaseUrl, rows)));
  });
  return rows;
}

async function measureRelevance(papers: readonly BuiltInPaper[]): Promise<BenchRow[]> {
  const library = await openLibrary({});
  try {
    await library.syncCollection(papers);
    const measured = new Map<SearchRequest["ranking"], Map<string, Relevance>>();
    for (const ranking of ["fused", "text", "vectors"] as const) {
      const answers = [];
      for (const { question, category, right } of questions) {
        const { hits } = await library.search({ query: question, ranking });
        answers.push({ category, right, ranked: hits.map(({ paper }) => paper.id) });
      }
      measured.set(ranking, relevanceByCategory(answers));
    }
    return relevanceRows(measured);
  } finally {
    await library.close();
  }
}

const MEASURES = [
  ["recall@5", "recallAt5"],
  ["recall@10", "recallAt10"],
  ["MRR", "meanReciprocalRank"],
] as const;

function relevanceRows(measured: ReadonlyMap<SearchRequest["ranking"], Map<string, Relevance>>): BenchRow[] {
  const rows: BenchRow[] = [];
  for (const [category, ours] of measured.get("fused")!) {
    for (const [name, key] of MEASURES) {
      for (const [ranking, peerName] of [
        ["text", "full text alone"],
        ["vectors", "embeddings alone"],
      ] as const) {
        const peer = measured.get(ranking)!.get(category)![key];
        const label = `${name}, ${category === "all" ? `all ${ours.questions} questions` : category}`;
        rows.push({
          suite: "search",
          case: label,
          ours: ours[key],
          peer,
          peerName,
          ratio: ours[key] / peer,
          unit: "of 1",
        });
      }
    }
  }
  return rows;
}

/** A row in which less is better. */
const row = (name: string, ours: number, peer: number, peerName: string, unit: string): BenchRow => ({
  suite: "search",
  case: name,
  ours,
  peer,
  peerName,
  ratio: peer / ours,
  unit,
});

async function measureSpeed(
  place: string,
  location: DatabaseLocation,
  drafts: readonly PaperDraft[],
  target: number,
): Promise<BenchRow[]> {
  const encoder = new BenchEncoder(await universalSentenceEncoder());
  const library = await openLibrary({ ...location, createEmbedder: async () => encoder });
  try {
    const size = `${drafts.length} papers, ${place}`;
    const importing = await seconds(async () => {
      for (let start = 0; start < drafts.length; start += WRITE_BATCH) {
        const batch = drafts.slice(start, start + WRITE_BATCH);
        await writePapers(library.database, batch, { source: "import", now: new Date() });
      }
      await library.embeddings.embedPending();
    });
    encoder.isImporting = false;
    const encoding = await encodingTime(encoder, drafts);
    const first = await seconds(() => library.search({ query: "warm up" }));
    const latencies = await measureLatencies(library);
    return [
      row(
        `import without encoding, ${size}`,
        (importing / drafts.length) * 1000,
        encoding,
        "encoding",
        "ms/paper",
      ),
      row(`first search of a process, ${size}`, first, importing, "importing them", "s"),
      row(`search p50, ${size}`, quantile(latencies, 0.5), target, "target", "ms"),
      row(`search p95, ${size}`, quantile(latencies, 0.95), target, "target", "ms"),
    ];
  } finally {
    await library.close();
  }
}

/** Milliseconds to encode one paper, on a sample. */
async function encodingTime(encoder: Embedder, drafts: readonly PaperDraft[]): Promise<number> {
  const texts = drafts.slice(0, ENCODED_SAMPLE).flatMap(passages);
  return ((await seconds(() => encoder.embed(texts))) * 1000) / Math.min(ENCODED_SAMPLE, drafts.length);
}

/** Encodes questions truly; papers get seeded random vectors, since encoding 100,000 takes a quarter of an hour. */
class BenchEncoder implements Embedder {
  readonly model = DEFAULT_EMBEDDER;
  readonly dimensions: number;
  isImporting = true;
  readonly #encoder: Embedder;
  readonly #random = seededRandom(11);

  constructor(encoder: Embedder) {
    this.#encoder = encoder;
    this.dimensions = encoder.dimensions;
  }

  async embed(texts: readonly string[]): Promise<Float32Array[]> {
    if (!this.isImporting) return this.#encoder.embed(texts);
    return texts.map(() => Float32Array.from({ length: this.dimensions }, () => this.#random() - 0.5));
  }
}

/** Every question once, every tenth with a slip of the pen, in milliseconds. */
async function measureLatencies(library: Library): Promise<number[]> {
  const latencies: number[] = [];
  for (const [index, { question }] of questions.entries()) {
    const query = index % 10 === 0 ? question.replace(/(\w{3})(\w)(\w)(\w)/u, "$1$3$2$4") : question;
    latencies.push((await seconds(() => library.search({ query }))) * 1000);
  }
  return latencies;
}

/** PostgreSQL's own full text on the same papers and questions, as a reader of its manual would set it up. */
async function measureServerFullText(
  databaseUrl: string,
  measured: readonly BenchRow[],
): Promise<BenchRow[]> {
  const client = new pg.Client(databaseUrl);
  await client.connect();
  try {
    await client.query(`alter table paper add column search tsvector
      generated always as (to_tsvector('english', title || ' ' || summary)) stored`);
    await client.query("create index on paper using gin (search)");
    await client.query("analyze paper");
    const latencies: number[] = [];
    for (const { question } of questions.slice(0, 30)) {
      const statement = `select id, ts_rank(search, query) as rank from paper,
        to_tsquery('english', replace(plainto_tsquery('english', $1)::text, '&', '|')) query
        where search @@ query order by rank desc limit 10`;
      latencies.push((await seconds(() => client.query(statement, [question]))) * 1000);
    }
    const ours = measured.filter(({ case: name }) => name.includes("PostgreSQL"));
    return [0.5, 0.95].map((share) => {
      const name = `search p${share * 100}`;
      const own = ours.find((entry) => entry.case.startsWith(name))!;
      return row(own.case, own.ours, quantile(latencies, share), "tsvector with GIN and ts_rank", "ms");
    });
  } finally {
    await client.end();
  }
}

async function withServerDatabase(
  databaseUrl: string | undefined,
  notice: (message: string) => void,
  use: (databaseUrl: string) => Promise<void>,
): Promise<void> {
  const programs = postgresPrograms();
  if (databaseUrl === undefined && !programs) {
    notice("no PostgreSQL server is installed: only the embedded database is measured");
    return;
  }
  if (databaseUrl === undefined) {
    const server = await startPostgres(programs!);
    try {
      await use(server.createDatabase());
    } finally {
      await server.stop();
    }
    return;
  }
  const name = `prior_art_bench_${process.pid}`;
  const client = new pg.Client(databaseUrl);
  await client.connect();
  try {
    await client.query(`create database ${name}`);
    const address = new URL(databaseUrl);
    address.pathname = `/${name}`;
    await use(address.href);
  } finally {
    await client.query(`drop database if exists ${name}`);
    await client.end();
  }
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

const folderSize = (folder: string): number =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => statSync(join(folder, path)))
    .reduce((sum, entry) => sum + (entry.isFile() ? entry.size : 0), 0);

const textSize = (drafts: readonly PaperDraft[]): number =>
  drafts.reduce((sum, { title, summary }) => sum + title.length + summary.length, 0) / drafts.length;
