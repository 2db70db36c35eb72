import { existsSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { fileURLToPath, pathToFileURL } from "node:url";
import { securityHeaders, workerPolicy } from "./securityHeaders.ts";
import type { Site } from "./site.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** Largest body of a request; forms and API calls need far less. */
const LARGEST_BODY = "64K";

export interface SiteServerOptions {
  readonly site: Site;
}

/**
 * The site as an HTTP server that is not listening yet.
 *
 * @throws Error when the site has not been built.
 */
export async function createSiteServer({ site }: SiteServerOptions): Promise<Server> {
  const handler = await loadHandler(site.address);
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    // A worker's script brings the worker's policy; pages set their own.
    if (request.url?.startsWith("/_app/")) response.setHeader("Content-Security-Policy", workerPolicy);
    (request as IncomingMessage & { site?: Site }).site = site;
    handler(request, response, () => {
      response.statusCode = 404;
      response.end();
    });
  });
  // A client that sends its request in drops does not hold a connection for long.
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  return server;
}

async function loadHandler(address: string): Promise<Handler> {
  // The same place from src and from dist.
  const path = fileURLToPath(new URL("../build/handler.js", import.meta.url));
  if (!existsSync(path)) throw new Error("the site is not built; npm run build builds it");
  // The adapter reads these when it is loaded.
  process.env.ORIGIN ??= new URL(address).origin;
  process.env.BODY_SIZE_LIMIT ??= LARGEST_BODY;
  const module = (await import(pathToFileURL(path).href)) as { handler: Handler };
  return module.handler;
}
