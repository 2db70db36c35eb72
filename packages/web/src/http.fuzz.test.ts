import { createConnection } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { routeLabel } from "./observability/routeLabel.ts";
import { type OpenedSite, openSite } from "./testing/openSite.ts";

const numRuns = 120 * Number(process.env.FUZZ_FACTOR ?? 1);

let opened: OpenedSite;
beforeAll(async () => {
  opened = await openSite();
});
afterAll(() => opened.close());

const paths = fc.oneof(
  fc.constantFrom(
    "/",
    "/subscribe",
    "/theme",
    "/search?q=labels",
    "/api/search?q=labels",
    "/api/papers/fira/vote",
    "/api/papers",
    "/api/trending?window=week",
    "/papers/fira",
    "/confirm/x.y.z",
    "/unsubscribe/x.y.z",
    "/subscription/x.y.z",
    "/checkpoints/../../../etc/passwd",
    "/families/..%2f..%2f",
    "/%00",
    "/papers/%ff",
  ),
  fc.webPath(),
  fc.webQueryParameters().map((query) => `/search?${query}`),
  fc.webQueryParameters().map((query) => `/api/papers?${query}`),
);
const contentType = fc.constantFrom(
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
  "multipart/form-data",
  "application/json",
  "text/plain",
  "application/xml",
  "application/json; charset=utf-7",
);
const body = fc.oneof(
  fc.string({ unit: "binary", maxLength: 400 }),
  fc.webQueryParameters(),
  fc.json(),
  fc.constantFrom(
    "email=a%40example.org&email=b%40example.org&hour=99",
    "email=a%40example.org%0d%0aBcc:c%40example.org",
    `email=${"x".repeat(70_000)}`,
    "email=%ff%fe",
    '--x\r\nContent-Disposition: form-data; name="email"\r\n\r\na@example.org\r\n--x--',
    '--x\r\nContent-Disposition: form-data; name="email"; filename="a"\r\n\r\n\u0000\r\n--x',
    "{".repeat(10_000),
    "a[b][c]=1&__proto__[x]=1",
  ),
);

/** Each request comes from a visitor of its own, or the rate limit would answer all but the first. */
let visitor = 0;

test("no method, path, type or body makes the site fail or say more than it should", async () => {
  const call = fc.record({
    method: fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    path: paths,
    contentType,
    body,
    cookie: fc.oneof(fc.constant("voter=x"), fc.stringMatching(/^[!-~]{0,60}$/)),
    origin: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(call, async ({ method, path, contentType: type, body: text, cookie, origin }) => {
      visitor = (visitor + 1) % 60_000;
      const answer = await fetch(opened.address + path, {
        method,
        redirect: "manual",
        headers: {
          "content-type": type,
          cookie,
          ...(origin && { origin: opened.address }),
        },
        ...(method !== "GET" && method !== "OPTIONS" && { body: text }),
      });
      const said = await answer.text();
      expect(answer.status, `${method} ${path}: ${said.slice(0, 300)}`).toBeLessThan(500);
      expect(said).not.toMatch(/\n\s+at .*\.(js|ts):\d+/);
      expect(said).not.toContain("root:x:0:0");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect(routeLabel(path).length).toBeLessThan(40);
    }),
    { numRuns },
  );
  expect(opened.log).toEqual([]);
}, 600_000);

test("bytes that are no HTTP are refused, and the site goes on", async () => {
  const { port } = new URL(opened.address);
  const noise = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc
      .tuple(fc.constantFrom("GET", "POST", "BREW"), fc.string(), fc.string({ unit: "binary" }))
      .map(([method, path, header]) => Buffer.from(`${method} /${path} HTTP/1.1\r\n${header}\r\n\r\n`)),
    fc
      .constantFrom(
        "POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        `GET / HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(40_000)}\r\n\r\n`,
        "GET / HTTP/9.9\r\n\r\n",
      )
      .map((text) => Buffer.from(text)),
  );
  await fc.assert(
    fc.asyncProperty(noise, async (bytes) => {
      await new Promise<void>((resolve) => {
        const socket = createConnection({ port: Number(port), host: "127.0.0.1" }, () => socket.end(bytes));
        socket.on("data", () => undefined);
        socket.on("error", () => undefined);
        socket.on("close", () => resolve());
      });
    }),
    { numRuns },
  );
  expect((await fetch(`${opened.address}/readyz`)).status).toBe(200);
}, 600_000);
