import pg from "pg";

const DATE_TYPE = 1082;

/** Connects to a PostgreSQL server. Connections open when first needed. */
export function serverPool(databaseUrl: string): pg.Pool {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 10,
    connectionTimeoutMillis: 10_000,
    // Dates stay text: a JavaScript Date would move them by the machine's time zone.
    types: {
      getTypeParser: (type: number, format?: "text" | "binary") =>
        type === DATE_TYPE ? (value: string) => value : pg.types.getTypeParser(type, format as "text"),
    },
  });
  // An idle connection may break at any time; the next query opens another.
  pool.on("error", () => undefined);
  return pool;
}
