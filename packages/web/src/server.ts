import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { fileURLToPath, pathToFileURL } from "node:url";
import compression from "compression";
import { createLog, type Log } from "./observability/log.ts";
import { createMetrics, type Metrics } from "./observability/metrics.ts";
import { answerProbe } from "./observability/probes.ts";
import { routeLabel } from "./observability/routeLabel.ts";
import { securityHeaders, workerPolicy } from "./securityHeaders.ts";
import type { Site } from "./site.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** Largest body of a request; forms and API calls need far less. */
const LARGEST_BODY = "64K";

/** The site as an HTTP server. */
export interface SiteServer {
  /** Listens when its owner says so; until `open` it asks visitors to wait. */
  readonly server: Server;
  readonly metrics: Metrics;
  /** From now on requests are answered by this site. */
  open(site: Site): Promise<void>;
  /** Takes no new request and lets those that came be answered, for at most `patience` milliseconds. */
  drain(patience: number): Promise<void>;
}

export interface SiteServerOptions {
  readonly log?: Log;
  /** Lets others than this machine read `/metrics`, as a bearer token. */
  readonly metricsToken?: string | undefined;
}

/** What a request carries from here to the pages. */
export interface SiteRequest extends IncomingMessage {
  site?: Site;
  /** Names the request in the log and in the answer's X-Request-Id. */
  requestId?: string;
  log?: Log;
}

/** Ids of a proxy are taken over when they are of a harmless form. */
const GIVEN_ID = /^[\w-]{8,64}$/;

/**
 * An HTTP server for a site that may still be starting.
 *
 * @throws Error when the pages have not been built.
 */
export function createSiteServer({
  log = createLog("text", (line) => process.stderr.write(line)),
  metricsToken,
}: SiteServerOptions = {}): SiteServer {
  // The same place from src and from dist.
  const path = fileURLToPath(new URL("../build/handler.js", import.meta.url));
  if (!existsSync(path)) throw new Error("the site is not built; npm run build:site builds it");
  // Files lie there compressed already; this is for what is made for each request.
  const compress = compression({ level: 3 });
  let opened: { readonly site: Site; readonly handler: Handler } | undefined;
  const metrics = createMetrics();
  let draining = false;
  const standing = {
    metrics,
    metricsToken,
    async notReady() {
      if (draining) return "stopping";
      if (!opened) return "the library is opening";
      return (await opened.site.isReachable()) ? undefined : "the database does not answer";
    },
  };
  const server = createServer((request: SiteRequest, response) => {
    const started = performance.now();
    const given = request.headers["x-request-id"];
    const requestId = typeof given === "string" && GIVEN_ID.test(given) ? given : randomUUID();
    Object.assign(request, { requestId, log });
    response.setHeader("X-Request-Id", requestId);
    response.once("close", () => {
      const [method, route] = [request.method ?? "", routeLabel(request.url ?? "")];
      const seconds = (performance.now() - started) / 1000;
      // A visitor who went away before the answer: as nginx counts it.
      const status = response.writableFinished ? response.statusCode : 499;
      metrics.request({ method, route, status, seconds });
      log.request({ requestId, method, route, status, ms: Math.round(1000 * seconds) });
    });
    if (draining) response.setHeader("Connection", "close");
    if (answerProbe(request, response, standing)) return;
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    if (!opened) {
      askToWait(response);
      return;
    }
    // A worker's script brings the worker's policy; pages set their own.
    if (request.url?.startsWith("/_app/")) response.setHeader("Content-Security-Policy", workerPolicy);
    request.site = opened.site;
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
    metrics,
    async drain(patience) {
      draining = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const force = setTimeout(() => server.closeAllConnections(), patience);
      await closed;
      clearTimeout(force);
    },
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
