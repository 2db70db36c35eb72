import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const INSTALLATIONS = "/usr/lib/postgresql";

/** Folder of the newest installed PostgreSQL server's programs, or undefined. */
export function postgresPrograms(): string | undefined {
  if (!existsSync(INSTALLATIONS)) return undefined;
  const versions = readdirSync(INSTALLATIONS).sort((left, right) => Number(right) - Number(left));
  return versions
    .map((version) => join(INSTALLATIONS, version, "bin"))
    .find((programs) => existsSync(join(programs, "postgres")) && existsSync(join(programs, "initdb")));
}

/** A PostgreSQL server on a loopback port with a data folder of its own. */
export interface PostgresServer {
  /** Creates an empty database and returns its address. */
  createDatabase(): string;
  /** Kills the server as a power failure would, and starts it again on the same port with the same data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server; PostgreSQL refuses to run as root, so root starts it as `nobody`. */
export async function startPostgres(programs: string): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), "library-postgres-"));
  chmodSync(folder, 0o777);
  const data = join(folder, "data");
  const asUser = (program: string, ...options: string[]): [string, string[]] =>
    process.getuid?.() === 0
      ? ["runuser", ["-u", "nobody", "--", join(programs, program), ...options]]
      : [join(programs, program), options];
  execFileSync(...asUser("initdb", "-D", data, "-U", "library", "-A", "trust", "--no-sync", "-E", "UTF8"), {
    stdio: "ignore",
    cwd: folder,
  });
  const port = await freePort();
  const settings = ["fsync=off", `listen_addresses=127.0.0.1`, `unix_socket_directories=${folder}`];
  const options = settings.flatMap((setting) => ["-c", setting]);
  const start = async (): Promise<ChildProcess> => {
    const started = spawn(...asUser("postgres", "-D", data, "-p", String(port), ...options), {
      stdio: ["ignore", "ignore", "pipe"],
      cwd: folder,
    });
    await new Promise<void>((resolve, reject) => {
      let log = "";
      started.once("exit", () => reject(new Error(`PostgreSQL did not start: ${log}`)));
      started.stderr!.on("data", (chunk: Buffer) => {
        log += chunk;
        if (log.includes("ready to accept connections")) resolve();
      });
    });
    return started;
  };
  let server = await start();
  const end = async (): Promise<void> => {
    server.removeAllListeners("exit");
    const ended = new Promise((resolve) => server.once("exit", resolve));
    execFileSync(...asUser("pg_ctl", "stop", "-D", data, "-m", "immediate"), {
      stdio: "ignore",
      cwd: folder,
    });
    await ended;
  };
  let databases = 0;
  const psql = (statement: string) =>
    execFileSync(join(programs, "psql"), [
      ...["-h", "127.0.0.1", "-p", String(port), "-U", "library", "-d", "postgres", "-qc", statement],
    ]);
  return {
    createDatabase() {
      const name = `library_${databases++}`;
      psql(`create database ${name}`);
      return `postgres://library@127.0.0.1:${port}/${name}`;
    },
    async restart() {
      await end();
      server = await start();
    },
    async stop() {
      await end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
