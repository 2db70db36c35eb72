import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Metrics } from "./metrics.ts";

/** How the site stands, as those who watch over it ask. */
export interface Standing {
  /** Why no visitor should be sent here; `undefined` when all is well. */
  notReady(): Promise<string | undefined>;
  readonly metrics: Metrics;
  /** Lets others than this machine read the metrics. */
  readonly metricsToken?: string | undefined;
}

/** Answers `/healthz`, `/readyz` and `/metrics`; says whether the request was one of them. */
export function answerProbe(request: IncomingMessage, response: ServerResponse, standing: Standing): boolean {
  const path = request.url?.split("?", 1)[0];
  if (path !== "/healthz" && path !== "/readyz" && path !== "/metrics") return false;
  const answer = (status: number, body: string, type = "text/plain; charset=utf-8") => {
    response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store" });
    response.end(request.method === "HEAD" ? undefined : body);
  };
  if (request.method !== "GET" && request.method !== "HEAD") answer(405, "Only GET.\n");
  else if (path === "/healthz") answer(200, "ok\n");
  else if (path === "/readyz")
    void standing.notReady().then((reason) => answer(reason ? 503 : 200, `${reason ?? "ready"}\n`));
  else if (!mayReadMetrics(request, standing.metricsToken)) answer(403, "Not from here.\n");
  else
    void standing.metrics
      .text()
      .then((text) => answer(200, text, standing.metrics.contentType))
      .catch(() => answer(500, "The metrics cannot be read.\n"));
  return true;
}

/** This machine itself, not through a proxy; anybody else with the token. */
function mayReadMetrics({ headers, socket }: IncomingMessage, token: string | undefined): boolean {
  const given = /^Bearer (.+)$/.exec(headers.authorization ?? "")?.[1];
  if (token && given !== undefined) return sameText(given, token);
  const forwarded = headers["x-forwarded-for"] ?? headers.forwarded ?? headers["x-real-ip"];
  return forwarded === undefined && /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/.test(socket.remoteAddress ?? "");
}

/** In a time that does not tell how much of it was right. */
function sameText(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}
