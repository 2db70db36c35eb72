import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { pageCache } from "./pageCache.ts";

describe("pageCache", () => {
  const ask = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    new Request(`http://papers.example${path}`, { method, headers });

  /** A cache before a page that counts how often it is made. */
  function counting(options = {}, change: ResponseInit = {}) {
    const cache = pageCache(options);
    let made = 0;
    const make = async () => {
      made++;
      const headers = { "content-type": "text/html", etag: `"${made}"`, ...(change.headers as object) };
      return new Response(`page ${made}`, { ...change, headers });
    };
    const get = async (request: Request) => (await cache.answer(request, make)).text();
    return { cache, make, get, made: () => made };
  }

  test("a page is made once for all visitors without cookies", async () => {
    const { get } = counting();
    expect(await get(ask("/papers/a"))).toBe("page 1");
    expect(await get(ask("/papers/a"))).toBe("page 1");
    expect(await get(ask("/papers/b"))).toBe("page 2");
    expect(await get(ask("/?window=day"))).toBe("page 3");
    expect(await get(ask("/?window=week"))).toBe("page 4");
  });

  test("a visitor with a cookie, a search, a mail's link and a change are answered anew", async () => {
    const { get, made } = counting();
    for (const request of [
      ask("/papers/a", { cookie: "voter=x" }),
      ask("/search?q=a"),
      ask("/confirm/token"),
      ask("/unsubscribe/token"),
      ask("/subscription/token"),
      ask("/papers/a", {}, "POST"),
    ]) {
      const before = made();
      await get(request);
      await get(request);
      expect(made(), request.url).toBe(before + 2);
    }
  });

  test.each([
    ["errors", { status: 404 }],
    ["pages that set a cookie", { headers: { "set-cookie": "voter=x" } }],
    ["what is no page", { headers: { "content-type": "application/json" } }],
  ])("%s are not kept", async (_, change) => {
    const { get } = counting({}, change);
    expect(await get(ask("/papers/a"))).toBe("page 1");
    expect(await get(ask("/papers/a"))).toBe("page 2");
  });

  test("an old page is sent once more while it is renewed, once for all who ask meanwhile", async () => {
    const { get, made } = counting({ seconds: 0 });
    expect(await get(ask("/"))).toBe("page 1");
    expect(await Promise.all([get(ask("/")), get(ask("/"))])).toEqual(["page 1", "page 1"]);
    await expect.poll(() => get(ask("/"))).not.toBe("page 1");
    expect(made()).toBeLessThanOrEqual(3);
  });

  test("a page that is too old is made before it is sent", async () => {
    const { get } = counting({ seconds: 0, longest: 0 });
    await get(ask("/"));
    expect(await get(ask("/"))).toBe("page 2");
  });

  test("a page that can no longer be made is not sent again", async () => {
    const cache = pageCache({ seconds: 0 });
    const page = async () => new Response("page", { headers: { "content-type": "text/html" } });
    for (const broken of [
      async () => new Response("gone", { status: 404 }),
      () => Promise.reject<Response>(new Error("broken")),
    ]) {
      expect(await (await cache.answer(ask("/papers/a"), page)).text()).toBe("page");
      expect(await (await cache.answer(ask("/papers/a"), broken)).text()).toBe("page");
      const again = async () =>
        (await cache.answer(ask("/papers/a"), async () => new Response("new"))).text();
      await expect.poll(again).toBe("new");
    }
  });

  test("the number of pages is bounded", async () => {
    const few = counting({ most: 2 });
    for (const path of ["/papers/a", "/papers/b", "/papers/a", "/papers/c"]) await few.get(ask(path));
    expect(await few.get(ask("/papers/a"))).toBe("page 1");
    expect(await few.get(ask("/papers/b"))).toBe("page 4");
  });

  test("it is compressed for those who can read that, with its headers", async () => {
    const { cache, make } = counting();
    const response = await cache.answer(ask("/", { "accept-encoding": "gzip, br" }), make);
    expect(response.headers.get("content-encoding")).toBe("gzip");
    expect(response.headers.get("etag")).toBe('"1"');
    expect(gunzipSync(await response.arrayBuffer()).toString()).toBe("page 1");
    const plain = await cache.answer(ask("/"), make);
    expect(plain.headers.has("content-encoding")).toBe(false);
    expect(await plain.text()).toBe("page 1");
  });
});
