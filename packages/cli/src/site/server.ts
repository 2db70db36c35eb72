import { readFile } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import { reproductionFiles, roomResults } from "@prior-art/lab/node";
import { findRoom, type Room, rooms } from "@prior-art/methods";
import { notice } from "../notice.ts";
import { collectionPage, messagePage, paperPage, stylesheet } from "./pages.ts";

const strictPolicy =
  "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/** Figures and reports carry their styles inline and nothing else. */
const documentPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const artefacts = {
  "figure.svg": { file: "svg", type: "image/svg+xml" },
  "figure.png": { file: "png", type: "image/png" },
  "report.html": { file: "report", type: "text/html; charset=utf-8" },
} as const;

interface Page {
  readonly status?: number;
  readonly type?: string;
  readonly policy?: string;
  readonly body: string | Uint8Array;
}

/** The collection over HTTP: an overview, a page for each paper, and what its last reproduction made. */
export function createSite(dataFolder: string): Server {
  return createServer(async (request, response) => {
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD");
      send(response, { status: 405, body: messagePage("Method not allowed", "This site can only be read.") });
      return;
    }
    try {
      send(response, (await route(request.url ?? "/", dataFolder)) ?? notFound());
    } catch (error) {
      notice(`${request.url}: ${(error as Error).message}`);
      send(response, { status: 500, body: messagePage("Something broke", "The page could not be made.") });
    }
  });
}

async function route(url: string, dataFolder: string): Promise<Page | undefined> {
  const path = url.split("?")[0]!;
  if (path === "/style.css") return { type: "text/css; charset=utf-8", body: stylesheet };
  if (path === "/") {
    const entries = await Promise.all(
      rooms.map(async (room) => ({ room, results: await resultsOf(room, dataFolder) })),
    );
    return { body: collectionPage(entries) };
  }
  // Only slugs of the registry and three fixed names become file paths.
  const [, slug, name] = /^\/papers\/([a-z0-9-]+)(?:\/([a-z.]+))?$/.exec(path) ?? [];
  const room = slug === undefined ? undefined : findRoom(slug);
  if (!room) return undefined;
  if (name === undefined) {
    const figure = (await artefact(room, "figure.svg", dataFolder)) !== undefined;
    const report = (await artefact(room, "report.html", dataFolder)) !== undefined;
    return { body: paperPage(room, await resultsOf(room, dataFolder), { figure, report }) };
  }
  return name in artefacts ? artefact(room, name as keyof typeof artefacts, dataFolder) : undefined;
}

async function artefact(
  room: Room,
  name: keyof typeof artefacts,
  dataFolder: string,
): Promise<Page | undefined> {
  const { file, type } = artefacts[name];
  try {
    const body = await readFile(reproductionFiles(dataFolder, room.paper.slug, "full")[file]);
    return { type, policy: documentPolicy, body };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const resultsOf = (room: Room, dataFolder: string) => roomResults(room, dataFolder, notice);

const notFound = (): Page => ({ status: 404, body: messagePage("Not found", "There is no such page here.") });

function send(
  response: ServerResponse,
  { status = 200, type = "text/html; charset=utf-8", policy, body }: Page,
): void {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Content-Security-Policy": policy ?? strictPolicy,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
  });
  response.end(response.req.method === "HEAD" ? undefined : body);
}
