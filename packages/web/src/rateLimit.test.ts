import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { callerOf, rateLimiter } from "./rateLimit.ts";
import { requestGuard } from "./requestGuard.ts";

describe("rateLimiter", () => {
  test("lets a burst through, then as many as the rate allows", () => {
    const limiter = rateLimiter({ burst: 3, perSecond: 2 });
    const answers = [0, 0, 0, 0].map(() => limiter.take("a", 1000));
    expect(answers).toEqual([0, 0, 0, 0.5]);
    expect(limiter.take("b", 1000)).toBe(0);
    expect(limiter.take("a", 1500)).toBe(0);
    expect(limiter.take("a", 1500)).toBeGreaterThan(0);
  });

  test("never lets more through than burst + rate × time, whatever the order of the calls", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(400), { maxLength: 200 }), (gaps) => {
        const limiter = rateLimiter({ burst: 5, perSecond: 3 });
        let now = 0;
        let through = 0;
        for (const gap of gaps) {
          now += gap;
          if (limiter.take("a", now) === 0) through++;
        }
        expect(through).toBeLessThanOrEqual(5 + (3 * now) / 1000 + 1e-9);
      }),
    );
  });

  test("remembers a bounded number of callers, and those who called last", () => {
    const limiter = rateLimiter({ burst: 1, perSecond: 0.001 });
    limiter.take("early", 0);
    for (let i = 0; i < 50_000; i++) limiter.take(`caller ${i}`, 0);
    expect(limiter.take("early", 0)).toBe(0);
    expect(limiter.take("caller 49999", 0)).toBeGreaterThan(0);
  });
});

test("addresses of one IPv6 network are one caller, and mapped IPv4 is itself", () => {
  expect(callerOf("192.0.2.7")).toBe("192.0.2.7");
  expect(callerOf("::ffff:192.0.2.7")).toBe("192.0.2.7");
  expect(callerOf("2001:db8:0:1::5")).toBe(callerOf("2001:0db8::1:ffff:2:3:4"));
  expect(callerOf("2001:db8:0:1::5")).not.toBe(callerOf("2001:db8:0:2::5"));
  expect(callerOf("fe80::1%eth0")).toBe(callerOf("fe80::2"));
});

describe("requestGuard", () => {
  const request = (method: string, path: string, headers: Record<string, string> = {}) => ({
    method,
    path,
    address: "192.0.2.1",
    headers: new Headers({ host: "papers.example", ...headers }),
  });

  test("visitors of the site and programs may change things, other sites may not", () => {
    const guard = requestGuard();
    expect(guard(request("POST", "/subscribe", { origin: "https://papers.example" }), 0)).toBeUndefined();
    expect(guard(request("POST", "/api/papers/x/vote"), 0)).toBeUndefined();
    expect(guard(request("POST", "/subscribe", { origin: "https://evil.example" }), 0)?.status).toBe(403);
    // The browser's own word counts more than an origin that says the same host.
    const sibling = { origin: "https://papers.example", "sec-fetch-site": "same-site" };
    expect(guard(request("POST", "/subscribe", sibling), 0)?.status).toBe(403);
    expect(guard(request("GET", "/", { "sec-fetch-site": "cross-site" }), 0)).toBeUndefined();
  });

  test("limits of one kind do not use up another's", () => {
    const limit = { burst: 1, perSecond: 0.1 };
    const guard = requestGuard({ read: limit, search: limit, change: limit, subscribe: limit });
    expect(guard(request("GET", "/search"), 0)).toBeUndefined();
    expect(guard(request("GET", "/api/search"), 0)).toMatchObject({ status: 429, retryAfter: 10 });
    expect(guard(request("GET", "/searching"), 0)).toBeUndefined();
    expect(guard(request("POST", "/subscribe"), 0)).toBeUndefined();
    expect(guard(request("POST", "/papers/x"), 0)).toBeUndefined();
  });
});
