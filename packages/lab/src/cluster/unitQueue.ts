import { createHash } from "node:crypto";
import type { Progress } from "@prior-art/toolkit/experiment";
import PgBoss from "pg-boss";
import { decode, encode, unitResultSchema } from "../results.ts";
import { type Unit, type UnitResult, unitId } from "../units.ts";
import { Connection, type ConnectionOptions, type Sql } from "./connection.ts";
import { ensureSchema, lockSchema } from "./schema.ts";

/** Where workers find an experiment: a paper's, or a family's shared task. */
export interface ExperimentReference {
  readonly kind: "paper" | "family";
  readonly name: string;
}

/** A unit as it lies in the queue. */
export interface UnitOrder {
  readonly experiment: ExperimentReference;
  /** Digest of the experiment's code; a worker with other code leaves the unit alone. */
  readonly codeVersion: string;
  readonly unit: Unit;
}

/** A unit that this process has to finish, fail or give back. */
export interface TakenUnit extends UnitOrder {
  readonly key: string;
  readonly job: string;
}

/** What is known of a unit that someone waits for. */
export type Outcome =
  | { readonly key: string; readonly state: "finished"; readonly result: UnitResult }
  | { readonly key: string; readonly state: "parked"; readonly message: string }
  | { readonly key: string; readonly state: "running"; readonly progress: Progress | undefined };

/** Why a unit came back: its code threw, its worker died, or its worker has other code. */
export type FailureKind = "error" | "lost" | "mismatch";

/** Failures of each kind after which a unit is parked. */
export type FailureLimits = Readonly<Record<FailureKind, number>>;

export interface QueueTimes {
  /** Milliseconds between two signs of life of a worker. */
  readonly heartbeat: number;
  /** Milliseconds without one after which its units are given to others. */
  readonly lost: number;
}

export const defaultTimes: QueueTimes = { heartbeat: 2_000, lost: 15_000 };
/** The same seed gives the same numbers, and mostly the same error; a worker may die of many causes. */
const defaultLimits: FailureLimits = { error: 2, lost: 5, mismatch: 5 };

export interface QueueOptions extends ConnectionOptions {
  readonly times?: QueueTimes;
  readonly limits?: FailureLimits;
}

const QUEUE = "units";
/** Quick units go before full ones, whatever their place in their run. */
const QUICK_FIRST = 1_000_000;
/** Longer than any unit: lost units are found by their claims. */
const EXPIRE_SECONDS = 23 * 3600;
/** pg-boss counts every return of a unit; how many are too many is decided here by kind. */
const RETRIES = 10_000;

export function unitKey({ experiment, codeVersion, unit }: UnitOrder): string {
  return `${experiment.kind}/${experiment.name}/${unit.mode}-${codeVersion}/${unitId(unit)}`;
}

/** The same unit is the same job, whoever submits it and how often. */
function jobId(key: string): string {
  const hex = createHash("sha256").update(key).digest("hex");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");
}

/** pg-boss with its tables and our queue, created when missing. */
async function startBoss(connection: Connection): Promise<PgBoss> {
  const boss = new PgBoss({ db: connection.sql, schema: "lab_jobs", schedule: false });
  // Its housekeeping meets a server that is away; it comes round again.
  boss.on("error", () => undefined);
  try {
    await boss.start();
    await boss.createQueue(QUEUE, {
      name: QUEUE,
      policy: "standard",
      retryLimit: RETRIES,
      retryDelay: 0,
      expireInSeconds: EXPIRE_SECONDS,
    });
    return boss;
  } catch (error) {
    await stopBoss(boss);
    throw error;
  }
}

const stopBoss = (boss: PgBoss): Promise<void> => boss.stop({ graceful: false, wait: true, close: false });

/** Ends a worker's claim to a unit; `false` when somebody else has it by now. */
async function withdraw({ query }: Sql, key: string, worker: string): Promise<boolean> {
  const own = await query("delete from lab.claim where key = $1 and worker = $2 returning key", [
    key,
    worker,
  ]);
  return own.length > 0;
}

/** The queue of units on a PostgreSQL server, and what has become of them. */
export class UnitQueue {
  readonly times: QueueTimes;
  readonly #connection: Connection;
  readonly #boss: PgBoss;
  readonly #limits: FailureLimits;

  private constructor(connection: Connection, boss: PgBoss, { times, limits }: QueueOptions) {
    this.#connection = connection;
    this.#boss = boss;
    this.times = times ?? defaultTimes;
    this.#limits = limits ?? defaultLimits;
  }

  /**
   * Connects, and creates the tables when missing.
   *
   * @throws ServerUnreachableError
   */
  static async open(options: QueueOptions): Promise<UnitQueue> {
    const connection = await Connection.open(options);
    try {
      await connection.transaction(ensureSchema);
      return await connection.transaction(async (sql) => {
        // pg-boss creates its tables on connections of its own; of processes that start together one creates, others wait.
        await lockSchema(sql);
        return new UnitQueue(connection, await startBoss(connection), options);
      });
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /**
   * Queues units that have no result yet and are not queued already. A unit that was parked gets a new chance.
   *
   * @param orders with each unit's place in its run: earlier places of all runs come before later ones of any, so that
   *   runs share the workers fairly
   */
  async enqueue(orders: readonly { readonly order: UnitOrder; readonly place: number }[]): Promise<void> {
    const byKey = new Map(orders.map((entry) => [unitKey(entry.order), entry]));
    await this.#connection.transaction(async (sql) => {
      const keys = [...byKey.keys()];
      const parked = await sql.query<{ key: string }>(
        "delete from lab.parked where key = any($1) returning key",
        [keys],
      );
      if (parked.length > 0) {
        const again = parked.map(({ key }) => key);
        await sql.query("delete from lab.failure where key = any($1)", [again]);
        await this.#boss.deleteJob(QUEUE, again.map(jobId), { db: sql });
      }
      const known = await sql.query<{ key: string }>("select key from lab.result where key = any($1)", [
        keys,
      ]);
      for (const { key } of known) byKey.delete(key);
      if (byKey.size === 0) return;
      await this.#boss.insert(
        [...byKey].map(([key, { order, place }]) => ({
          id: jobId(key),
          name: QUEUE,
          data: order,
          priority: (order.unit.mode === "quick" ? QUICK_FIRST : 0) - place,
          retryLimit: RETRIES,
          retryDelay: 0,
          expireInSeconds: EXPIRE_SECONDS,
        })),
        { db: sql },
      );
    });
  }

  /** The next unit for this worker; `undefined` when there is none. */
  take(worker: string): Promise<TakenUnit | undefined> {
    return this.#connection.transaction(async (sql) => {
      for (;;) {
        const [job] = await this.#boss.fetch<UnitOrder>(QUEUE, {
          batchSize: 1,
          db: sql,
        } as PgBoss.FetchOptions);
        if (!job) return undefined;
        const key = unitKey(job.data);
        const done = await sql.query("select 1 from lab.result where key = $1", [key]);
        if (done.length === 0) {
          await sql.query(
            `insert into lab.claim (key, job, worker) values ($1, $2, $3)
             on conflict (key) do update set worker = excluded.worker, seen_at = now(), progress = null`,
            [key, job.id, worker],
          );
          return { ...job.data, key, job: job.id };
        }
        await this.#boss.complete(QUEUE, job.id, {}, { db: sql });
      }
    });
  }

  /** A sign of life of a worker, for itself and for the units that it knows it has. */
  async beat(
    worker: string,
    slots: number,
    units: readonly { readonly key: string; readonly progress: Progress | undefined }[],
  ): Promise<void> {
    await this.#connection.transaction(async ({ query }) => {
      await query(
        `insert into lab.worker (id, slots) values ($1, $2)
         on conflict (id) do update set seen_at = now(), slots = excluded.slots`,
        [worker, slots],
      );
      for (const { key, progress } of units)
        await query("update lab.claim set seen_at = now(), progress = $3 where key = $1 and worker = $2", [
          key,
          worker,
          progress ? JSON.stringify(progress) : null,
        ]);
    });
  }

  /** Keeps a unit's result, once and for all. */
  async finish({ key, job }: TakenUnit, worker: string, result: UnitResult): Promise<void> {
    const json = encode(unitResultSchema, result as never);
    await this.#connection.transaction(async (sql) => {
      await sql.query(
        "insert into lab.result (key, result, worker) values ($1, $2, $3) on conflict (key) do nothing",
        [key, json, worker],
      );
      await withdraw(sql, key, worker);
      await this.#boss.complete(QUEUE, job, {}, { db: sql });
    });
  }

  /** Takes note of a failure: the unit goes back to the queue, or out of it when it failed too often. */
  async fail(taken: TakenUnit, worker: string, kind: FailureKind, message: string): Promise<void> {
    await this.#connection.transaction(async (sql) => {
      const own = await withdraw(sql, taken.key, worker);
      if (own) await this.#failed(sql, taken, worker, kind, message);
    });
  }

  /** Returns a unit that was not finished, without blame. */
  async giveBack({ key, job }: TakenUnit, worker: string): Promise<void> {
    await this.#connection.transaction(async (sql) => {
      const own = await withdraw(sql, key, worker);
      if (own) await this.#boss.fail(QUEUE, job, { message: "given back" }, { db: sql });
    });
  }

  /** Gives the units of workers that died to others; anybody may call this at any time. */
  async releaseLost(): Promise<void> {
    await this.#connection.transaction(async (sql) => {
      const lost = await sql.query<{ key: string; job: string; worker: string }>(
        `delete from lab.claim where key in (
           select key from lab.claim where seen_at < now() - $1 * interval '1 millisecond' for update skip locked)
         returning key, job, worker`,
        [this.times.lost],
      );
      for (const { key, job, worker } of lost)
        await this.#failed(sql, { key, job }, worker, "lost", `its worker ${worker} died`);
      await sql.query("delete from lab.worker where seen_at < now() - interval '1 day'");
    });
  }

  /** Workers that gave a sign of life lately. */
  async livingWorkers(): Promise<number> {
    const rows = await this.#connection.transaction(({ query }) =>
      query("select 1 from lab.worker where seen_at > now() - $1 * interval '1 millisecond'", [
        this.times.lost,
      ]),
    );
    return rows.length;
  }

  /** Takes a worker off the list of the living. */
  async leave(worker: string): Promise<void> {
    await this.#connection.transaction(({ query }) =>
      query("delete from lab.worker where id = $1", [worker]),
    );
  }

  /** What is known of these units; queued ones are missing from the answer. */
  outcomes(keys: readonly string[]): Promise<Outcome[]> {
    return this.#connection.transaction(async ({ query }) => {
      const finished = await query<{ key: string; result: unknown }>(
        "select key, result from lab.result where key = any($1)",
        [keys],
      );
      const parked = await query<{ key: string; message: string }>(
        "select key, message from lab.parked where key = any($1)",
        [keys],
      );
      const running = await query<{ key: string; progress: Progress | null }>(
        "select key, progress from lab.claim where key = any($1)",
        [keys],
      );
      return [
        ...finished.map(({ key, result }) => ({
          key,
          state: "finished" as const,
          result: decode(unitResultSchema, JSON.stringify(result)) as UnitResult,
        })),
        ...parked.map(({ key, message }) => ({ key, state: "parked" as const, message })),
        ...running.map(({ key, progress }) => ({
          key,
          state: "running" as const,
          progress: progress ?? undefined,
        })),
      ];
    });
  }

  /** How the queue stands, for people who look after it. */
  status(): Promise<QueueStatus> {
    return this.#connection.transaction(async ({ query }) => {
      const [queued] = await query<{ count: string }>(
        `select count(*) from lab_jobs.job where name = $1 and state in ('created', 'retry')`,
        [QUEUE],
      );
      const [finished] = await query<{ count: string }>("select count(*) from lab.result");
      return {
        queued: Number(queued!.count),
        finished: Number(finished!.count),
        running: await query<QueueStatus["running"][number]>(
          "select key, worker, progress from lab.claim order by key",
        ),
        parked: await query<QueueStatus["parked"][number]>(
          "select key, message from lab.parked order by key",
        ),
        workers: await query<QueueStatus["workers"][number]>(
          `select id, slots from lab.worker where seen_at > now() - $1 * interval '1 millisecond' order by id`,
          [this.times.lost],
        ),
      };
    });
  }

  async close(): Promise<void> {
    await stopBoss(this.#boss);
    await this.#connection.close();
  }

  async #failed(
    sql: Sql,
    { key, job }: { readonly key: string; readonly job: string },
    worker: string,
    kind: FailureKind,
    message: string,
  ): Promise<void> {
    await sql.query("insert into lab.failure (key, kind, message, worker) values ($1, $2, $3, $4)", [
      key,
      kind,
      message,
      worker,
    ]);
    const [failures] = await sql.query<{ count: string }>(
      "select count(*) from lab.failure where key = $1 and kind = $2",
      [key, kind],
    );
    const count = Number(failures!.count);
    if (count < this.#limits[kind]) {
      await this.#boss.fail(QUEUE, job, { message }, { db: sql });
      return;
    }
    await sql.query(
      "insert into lab.parked (key, message) values ($1, $2) on conflict (key) do update set message = excluded.message",
      [key, `${message} (failed ${count} times)`],
    );
    await this.#boss.complete(QUEUE, job, { message }, { db: sql });
  }
}

export interface QueueStatus {
  readonly queued: number;
  readonly finished: number;
  readonly running: readonly {
    readonly key: string;
    readonly worker: string;
    readonly progress: Progress | null;
  }[];
  readonly parked: readonly { readonly key: string; readonly message: string }[];
  readonly workers: readonly { readonly id: string; readonly slots: number }[];
}
