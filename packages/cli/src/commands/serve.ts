import type { Command } from "commander";
import { dataOption } from "../dataFolder.ts";
import { createSite } from "../site/server.ts";
import { UsageError, wholeNumber } from "../usage.ts";

export function register(program: Command): void {
  program
    .command("serve")
    .description("serve the collection as a site")
    .option("--port <port>", "port to listen on", wholeNumber(0), 3000)
    .option("--host <host>", "address to listen on", "127.0.0.1")
    .addOption(dataOption())
    .action(serve);
}

async function serve(options: { port: number; host: string; data: string }): Promise<void> {
  if (options.port > 65_535) throw new UsageError(`there is no port ${options.port}; choose one up to 65535`);
  const server = createSite(options.data);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "EADDRINUSE" ? "is taken" : `cannot be used (${error.code})`;
      reject(new UsageError(`port ${options.port} ${reason}; choose another with --port`));
    });
    server.listen(options.port, options.host, resolve);
  });
  const address = server.address() as { port: number };
  process.stderr.write(`Prior Art is at http://${options.host}:${address.port}/ (stop with Ctrl-C)\n`);
  await new Promise<void>((resolve) => {
    const stop = () => {
      server.close(() => resolve());
      server.closeAllConnections();
    };
    process.once("SIGINT", stop).once("SIGTERM", stop);
  });
}
