import pg from "pg";

/** Runs SQL; what pg-boss asks for, on one connection or on any of a pool. */
export interface Sql {
  executeSql(text: string, values?: unknown[]): Promise<{ rows: never[] }>;
  query<Row extends Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

export interface ConnectionOptions {
  readonly databaseUrl: string;
  /** Told once when the server cannot be reached, and once when it is back. */
  readonly onTrouble: (message: string) => void;
  /** Ends the waiting for a server that is away. */
  readonly signal?: AbortSignal;
}

/** The server cannot be reached or does not let us in. The message is one line, without the password. */
export class ServerUnreachableError extends Error {
  override readonly name = "ServerUnreachableError";
}

const LONGEST_PAUSE = 3_000;

/** Serialization failure and deadlock: the same work succeeds when it is done again. */
const COLLIDED = /^(40001|40P01)$/;

/** Codes of a server that is away or going: sockets, and PostgreSQL's classes 08 (connection) and 57P (operator). */
const AWAY = /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|08...|57P0[123])$/;
const isAway = (error: unknown): boolean => {
  const { code = "", message = "" } = error as { code?: string; message?: string };
  return (
    AWAY.test(code) ||
    /Connection terminated|connection timeout|Client has encountered a connection error/i.test(message)
  );
};

/** Connections to a PostgreSQL server that may be restarted at any moment: work is done again once it is back. */
export class Connection {
  readonly #pool: pg.Pool;
  readonly #options: ConnectionOptions;
  #away = false;

  private constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#pool = new pg.Pool({
      connectionString: options.databaseUrl,
      max: 6,
      connectionTimeoutMillis: 5_000,
    });
    // An idle connection may break at any time; the next query opens another.
    this.#pool.on("error", () => undefined);
  }

  /** @throws ServerUnreachableError when the server cannot be reached now. */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(options);
    try {
      await connection.#pool.query("select 1");
      return connection;
    } catch (cause) {
      await connection.close();
      const { code = "", message } = cause as NodeJS.ErrnoException;
      const { databaseUrl: url } = options;
      const host = URL.canParse(url) ? new URL(url).host : "an unreadable address";
      throw new ServerUnreachableError(`no PostgreSQL at ${host} (${code || message}); see --database-url`, {
        cause,
      });
    }
  }

  /** SQL outside of a transaction, tried once: for libraries that try again by themselves. */
  get sql(): Sql {
    return sqlOf(this.#pool);
  }

  /**
   * Runs `work` in a transaction. While the server is away it waits and does the work again, so work must not mind being
   * done twice.
   */
  async transaction<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result> {
    for (let pause = 100; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        const result = await this.#attempt(work);
        this.#report(undefined);
        return result;
      } catch (error) {
        const collided = COLLIDED.test((error as { code?: string }).code ?? "");
        if (!(collided || isAway(error)) || this.#options.signal?.aborted) throw error;
        if (!collided) this.#report(error as Error);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  async #attempt<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    // Without a listener the loss of a connection in use would end the process.
    const onError = (error: Error) => {
      broken = error;
    };
    client.on("error", onError);
    try {
      await client.query("begin");
      const result = await work(sqlOf(client));
      await client.query("commit");
      return result;
    } catch (error) {
      await client.query("rollback").catch((failure: Error) => {
        broken ??= failure;
      });
      throw error;
    } finally {
      client.off("error", onError);
      client.release(broken);
    }
  }

  #report(error: Error | undefined): void {
    const away = error !== undefined;
    if (away === this.#away) return;
    this.#away = away;
    this.#options.onTrouble(
      away
        ? `the PostgreSQL server is away (${error.message}); waiting for it`
        : "the PostgreSQL server is back",
    );
  }
}

function sqlOf(client: pg.Pool | pg.PoolClient): Sql {
  const run = (text: string, values: readonly unknown[] = []) => client.query(text, [...values]);
  return {
    executeSql: async (text, values) =>
      // Several statements in one text need the simple protocol, which takes no parameters.
      (values?.length ? await run(text, values) : await client.query(text)) as unknown as { rows: never[] },
    query: async (text, values) => (await run(text, values)).rows,
  };
}
