import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLog } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { answerProbe } from "./probes.ts";
import { routeLabel } from "./routeLabel.ts";

describe("log", () => {
  const logged = (format: "text" | "json", use: (log: ReturnType<typeof createLog>) => void): string => {
    let text = "";
    use(
      createLog(format, (line) => {
        text += line;
      }),
    );
    return text;
  };

  test("as JSON, every event is one line with its time, level and facts", () => {
    const text = logged("json", (log) => {
      log.notice("ready");
      log.request({ requestId: "abc", method: "GET", route: "/papers/…", status: 200, ms: 3 });
      log.error("it\nbroke", { job: "digest" });
    });
    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { level: 30, msg: "ready" },
      { level: 30, msg: "request", requestId: "abc", route: "/papers/…", status: 200 },
      { level: 50, msg: "it\nbroke", job: "digest" },
    ]);
    for (const { time } of lines) expect(Date.parse(time)).not.toBeNaN();
  });

  test("as text, requests are left out and errors name theirs", () => {
    const text = logged("text", (log) => {
      log.request({ requestId: "abc", status: 200 });
      log.error("broke", { requestId: "abc" });
    });
    expect(text).toBe("prior-art: abc: broke\n");
  });

  test.each(["text", "json"] as const)("%s never holds a mail address or a password", (format) => {
    fc.assert(
      fc.property(fc.emailAddress(), fc.webUrl(), (address, url) => {
        const credentials = url.replace("://", "://someone:pa55word@");
        const text = logged(format, (log) => {
          log.error(`550 <${address}>: mailbox unknown`);
          log.notice(`cannot reach ${credentials}`);
        });
        expect(text).not.toContain(address);
        expect(text).not.toContain("pa55word");
      }),
    );
  });
});

describe("route labels", () => {
  test.each([
    ["/", "/"],
    ["/?page=2", "/"],
    ["/papers/fira?x=1", "/papers/…"],
    ["/papers/fira/card.png", "/papers/…"],
    ["/unsubscribe/eyJhIjoxfQ.c2lnbmF0dXJl", "/unsubscribe/…"],
    ["/search?q=my+illness", "/search"],
    ["/api/papers/fira/vote", "/api/papers/…"],
    ["/api/search?q=x", "/api/search"],
    ["/wp-admin/setup.php", "other"],
    ["//evil.example", "/"],
  ])("%s is counted as %s", (url, label) => {
    expect(routeLabel(url)).toBe(label);
  });

  test("there are few, whatever is asked for, and none repeats what was typed", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.webPath(), fc.stringMatching(/^[0-9a-f]{12,40}$/), (path, secret) => {
        seen.add(routeLabel(path));
        for (const url of [`/confirm/${secret}`, `/${secret}`, `/api/${secret}`, `/search?q=${secret}`])
          expect(routeLabel(url)).not.toContain(secret);
      }),
      { numRuns: 500 },
    );
    expect(seen.size).toBeLessThan(60);
  });
});

describe("probes", () => {
  const metrics = createMetrics();
  let reason: string | undefined;
  let server: Server;
  let port: number;
  beforeAll(async () => {
    server = createServer((incoming, response) => {
      const answered = answerProbe(incoming, response, {
        metrics,
        metricsToken: "correct horse",
        notReady: async () => reason,
      });
      if (!answered) response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => void server.close());

  const ask = (
    path: string,
    { method = "GET", headers = {} }: { method?: string; headers?: Record<string, string> } = {},
  ) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      request({ port, path, method, headers }, (response) => {
        let body = "";
        response.on("data", (chunk) => {
          body += chunk;
        });
        response.on("end", () => resolve({ status: response.statusCode!, body }));
      })
        .on("error", reject)
        .end();
    });

  test("alive is not ready: readiness has its reason", async () => {
    reason = "the library is opening";
    expect(await ask("/healthz")).toEqual({ status: 200, body: "ok\n" });
    expect(await ask("/readyz")).toEqual({ status: 503, body: "the library is opening\n" });
    reason = undefined;
    expect(await ask("/readyz")).toEqual({ status: 200, body: "ready\n" });
    expect((await ask("/readyz", { method: "POST" })).status).toBe(405);
    expect((await ask("/papers/fira")).status).toBe(404);
  });

  test("metrics count requests, jobs, letters, papers and what waits", async () => {
    metrics.request({ method: "GET", route: "/papers/…", status: 200, seconds: 0.003 });
    metrics.request({ method: "BREW", route: "other", status: 404, seconds: 0.001 });
    metrics.job("digest", "finished");
    metrics.digests("sent", 3);
    metrics.synced("added", 7);
    metrics.watchQueues(async () => ({ sync: 2 }));
    const { status, body } = await ask("/metrics");
    expect(status).toBe(200);
    for (const line of [
      'prior_art_http_requests_total{method="GET",route="/papers/…",status="200"} 1',
      'prior_art_http_requests_total{method="other",route="other",status="404"} 1',
      'prior_art_http_request_duration_seconds_bucket{le="0.005",route="/papers/…"} 1',
      'prior_art_jobs_total{job="digest",outcome="finished"} 1',
      'prior_art_digests_total{outcome="sent"} 3',
      'prior_art_synced_papers_total{outcome="added"} 7',
      'prior_art_jobs_waiting{job="sync"} 2',
    ])
      expect(body).toContain(line);
    expect(body).toContain("process_resident_memory_bytes");
  });

  test("metrics survive a database that does not answer", async () => {
    metrics.watchQueues(async () => {
      throw new Error("gone");
    });
    expect((await ask("/metrics")).status).toBe(200);
  });

  test.each([
    ["through a proxy", { "x-forwarded-for": "203.0.113.9" }, 403],
    ["with a wrong token", { authorization: "Bearer wrong" }, 403],
    [
      "with the token, through a proxy",
      { authorization: "Bearer correct horse", "x-forwarded-for": "203.0.113.9" },
      200,
    ],
  ])("metrics %s: %o gets %i", async (_, headers, status) => {
    expect((await ask("/metrics", { headers })).status).toBe(status);
  });
});
