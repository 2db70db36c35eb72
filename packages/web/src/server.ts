import { existsSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { fileURLToPath, pathToFileURL } from "node:url";
import compression from "compression";
import { securityHeaders, workerPolicy } from "./securityHeaders.ts";
import type { Site } from "./site.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** Largest body of a request; forms and API calls need far less. */
const LARGEST_BODY = "64K";

/** The site as an HTTP server. */
export interface SiteServer {
  /** Listens when its owner says so; until `open` it asks visitors to wait. */
  readonly server: Server;
  /** From now on requests are answered by this site. */
  open(site: Site): Promise<void>;
}

/**
 * An HTTP server for a site that may still be starting.
 *
 * @throws Error when the pages have not been built.
 */
export function createSiteServer(): SiteServer {
  // The same place from src and from dist.
  const path = fileURLToPath(new URL("../build/handler.js", import.meta.url));
  if (!existsSync(path)) throw new Error("the site is not built; npm run build:site builds it");
  // Files lie there compressed already; this is for what is made for each request.
  const compress = compression({ level: 3 });
  let opened: { readonly site: Site; readonly handler: Handler } | undefined;
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    if (!opened) {
      askToWait(response);
      return;
    }
    // A worker's script brings the worker's policy; pages set their own.
    if (request.url?.startsWith("/_app/")) response.setHeader("Content-Security-Policy", workerPolicy);
    (request as IncomingMessage & { site?: Site }).site = opened.site;
    const { handler } = opened;
    const connected = [request, response] as unknown as Parameters<typeof compress>;
    compress(connected[0], connected[1], () =>
      handler(request, response, () => {
        response.statusCode = 404;
        response.end();
      }),
    );
  });
  // A client that sends its request in drops does not hold a connection for long.
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  return {
    server,
    async open(site) {
      // The adapter reads these when it is loaded.
      process.env.ORIGIN ??= new URL(site.address).origin;
      process.env.BODY_SIZE_LIMIT ??= LARGEST_BODY;
      const { handler } = (await import(pathToFileURL(path).href)) as { handler: Handler };
      opened = { site, handler };
    },
  };
}

function askToWait(response: ServerResponse): void {
  response.writeHead(503, {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'",
    "Retry-After": "2",
  });
  response.end(
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">' +
      "<title>Prior Art</title><p>The library is opening; this page tries again by itself.</p></html>",
  );
}
