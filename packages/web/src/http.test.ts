import { readdir, readFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { XMLParser, XMLValidator } from "fast-xml-parser";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ApiError, type Client, createClient } from "./api/client.ts";
import { operations } from "./api/operations.ts";
import { type OpenedSite, openSite } from "./testing/openSite.ts";

let opened: OpenedSite;
let client: Client;
const get = (path: string, init?: RequestInit) =>
  fetch(opened.address + path, { redirect: "manual", ...init });
/** A form as a browser without scripts sends it. */
const form = (fields: Record<string, string>, headers: Record<string, string> = {}) => ({
  method: "POST",
  body: new URLSearchParams(fields),
  headers: { accept: "text/html", ...headers },
});

beforeAll(async () => {
  opened = await openSite();
  client = createClient(opened.address);
});
afterAll(() => opened.close());

describe("the API", () => {
  test("has an OpenAPI 3.1 document that names every operation", async () => {
    const document = await (await get("/api/openapi.json")).json();
    expect(document.openapi).toMatch(/^3\.1\./);
    for (const { method, path, id } of operations) expect(document.paths[path][method].operationId).toBe(id);
  });

  test("answers through the typed client", async () => {
    const first = await client.papers({ limit: 100 });
    const rest = await client.papers({ limit: 100, after: first.next! });
    expect(first.papers.length + rest.papers.length).toBe(192);
    expect(rest.next).toBeNull();
    const paper = await client.paper("2007.00151");
    expect(paper.id).toBe("early-learning-regularization");
    expect((await client.similar(paper.id)).papers.length).toBeGreaterThan(2);
    expect((await client.results(paper.id)).claims.length).toBeGreaterThan(3);
    const { hits } = await client.search("my network memorizes wrong labels", { limit: 3 });
    expect(hits.map(({ paper: { id } }) => id)).toContain("early-learning-regularization");
    expect((await client.trending({ window: "month", limit: 5 })).papers).toHaveLength(5);
    expect(await client.families()).toHaveLength(16);
  });

  test.each([
    ["an unknown paper", () => client.paper("no-such-paper"), 404, "there is no such paper"],
    ["an empty search", () => client.search(" "), 400, "The search is empty"],
    ["a limit out of range", () => client.papers({ limit: 101 }), 400, "limit must be a whole number"],
    ["a damaged page mark", () => client.search("labels", { after: "x" }), 400, "page mark is not valid"],
    ["a family without leaderboard", () => client.leaderboard("no-family"), 404, "no such leaderboard"],
  ])("refuses %s with its reason", async (_, ask, status, reason) => {
    const error = await (ask as () => Promise<unknown>)().catch((problem: unknown) => problem);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ status, message: expect.stringContaining(reason as string) });
  });

  test.each(["/theme", "/subscribe", "/subscription/x.y.z"])(
    "POST %s without a form is a 4xx",
    async (path) => {
      const body = { method: "POST", body: "{}", headers: { "content-type": "application/json" } };
      const { status } = await get(path, body);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    },
  );

  test("a person votes once, with a cookie, and takes it back", async () => {
    const path = "/api/papers/fira/vote";
    const first = await get(path, { method: "POST" });
    expect(await first.json()).toEqual({ votes: 1, own: true });
    const setCookie = first.headers.get("set-cookie")!;
    expect(setCookie).toMatch(/^voter=.*; HttpOnly; SameSite=Lax/i);
    const headers = { cookie: setCookie.split(";")[0]! };
    expect(await (await get(path, { method: "POST", headers })).json()).toEqual({ votes: 1, own: true });
    expect(await (await get(path, { method: "DELETE", headers })).json()).toEqual({ votes: 0, own: false });
  });

  test("a forged voter cookie is a new voter, not an error", async () => {
    const headers = { cookie: "voter=someone.zzzzzz.forged" };
    expect((await get("/", { headers })).status).toBe(200);
    const vote = await get("/api/papers/lora-one/vote", { method: "POST", headers });
    expect(await vote.json()).toEqual({ votes: 1, own: true });
    expect(vote.headers.get("set-cookie")).toMatch(/^voter=/);
  });
});

describe("feeds and files", () => {
  test.each(["/feed.xml", "/families/optimizers/feed.xml", "/search/feed.xml?q=wrong+labels"])(
    "%s is an Atom feed",
    async (path) => {
      const response = await get(path);
      expect(response.headers.get("content-type")).toMatch(/^application\/atom\+xml/);
      const xml = await response.text();
      expect(XMLValidator.validate(xml)).toBe(true);
      const { feed } = new XMLParser({ ignoreAttributes: false }).parse(xml);
      expect(feed.entry.length).toBeGreaterThan(3);
      expect(feed.entry[0].id).toMatch(/\/papers\/./);
    },
  );

  test("the sitemap lists every paper, and robots.txt names the sitemap", async () => {
    const xml = await (await get("/sitemap.xml")).text();
    expect(XMLValidator.validate(xml)).toBe(true);
    expect(xml.match(/\/papers\//g)).toHaveLength(192);
    expect(await (await get("/robots.txt")).text()).toContain(`Sitemap: ${opened.address}/sitemap.xml`);
  });

  test("a figure is an SVG that may load nothing, its card a PNG of 1200 × 630", async () => {
    const figure = await get("/papers/stacked-policy-mirror-descent/figure.svg");
    expect(figure.headers.get("content-type")).toBe("image/svg+xml");
    expect(figure.headers.get("content-security-policy")).toMatch(/^default-src 'none'/);
    expect(await figure.text()).toMatch(/^<svg/);
    const card = new DataView(
      await (await get("/papers/stacked-policy-mirror-descent/card.png")).arrayBuffer(),
    );
    expect([card.getUint32(16), card.getUint32(20)]).toEqual([1200, 630]);
  });

  test("an arXiv id leads to the paper's own address", async () => {
    const response = await get("/papers/2007.00151");
    expect([response.status, response.headers.get("location")]).toEqual([
      301,
      "/papers/early-learning-regularization",
    ]);
  });
});

describe("hostile requests", () => {
  test.each([
    "/papers/no-such-paper",
    "/papers/..%2f..%2fetc%2fpasswd",
    "/families/no-such-family",
    "/compare/no-such-family",
    "/checkpoints/..%2f..%2fpackage.json",
    "/checkpoints/nothing.safetensors",
    "/papers/fira/report.html",
    "/_app/nothing.js",
    "/.env",
  ])("%s is not found", async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  test("markup in the address and in searches comes out as text", async () => {
    const attack = `"><script>alert(1)</script>`;
    for (const path of [`/search?q=${encodeURIComponent(attack)}`, `/papers/${encodeURIComponent(attack)}`]) {
      const html = await (await get(path)).text();
      expect(html).not.toContain("<script>alert(1)");
      expect(html).toContain("&lt;script");
    }
  });

  test("every answer says that nothing may be guessed, framed or loaded from elsewhere", async () => {
    for (const path of ["/", "/api/families", "/robots.txt", "/nowhere", "/icon.svg"]) {
      const { headers } = await get(path);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("x-frame-options")).toBe("DENY");
      expect(headers.get("cross-origin-opener-policy")).toBe("same-origin");
      expect(headers.get("cross-origin-embedder-policy")).toBe("require-corp");
    }
    const policy = (await get("/")).headers.get("content-security-policy")!;
    expect(policy).not.toMatch(/unsafe-inline|unsafe-eval|https?:/);
  });

  test("another site cannot vote, subscribe or change colours for a visitor", async () => {
    for (const headers of [
      { "sec-fetch-site": "cross-site" },
      { origin: "https://evil.example" },
      { origin: "null" },
    ]) {
      const vote = await get("/api/papers/fira/vote", { method: "POST", headers });
      expect(vote.status).toBe(403);
      expect((await get("/subscribe", form({ email: "a@example.org" }, headers))).status).toBe(403);
      expect((await get("/theme", form({ theme: "dark" }, headers))).status).toBe(403);
    }
  });

  test("a redirect never leads to another site", async () => {
    for (const back of [
      "https://evil.example/",
      "//evil.example/",
      "/\\evil.example/",
      "javascript:alert(1)",
    ]) {
      const response = await get("/theme", form({ theme: "dark", back }));
      expect([response.status, response.headers.get("location")]).toEqual([303, "/"]);
    }
    const local = await get("/theme", form({ theme: "dark", back: "/search?q=labels" }));
    expect(local.headers.get("location")).toBe("/search?q=labels");
  });

  test("bodies are limited", async () => {
    const response = await get("/subscribe", form({ email: "a".repeat(100_000) }));
    expect(response.status).toBe(413);
  });

  test("what is no HTTP gets a clear answer and disturbs nobody", async () => {
    const { port } = new URL(opened.address);
    const answer = await new Promise<string>((resolve) => {
      const socket = createConnection({ port: Number(port), host: "127.0.0.1" }, () =>
        socket.write("HELO there\r\n\r\n"),
      );
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      socket.on("close", () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400/);
    expect((await get("/about")).status).toBe(200);
  });
});

describe("subscriptions", () => {
  /** Mails in the outbox, once there are `count` of them. */
  async function outbox(count: number): Promise<string[]> {
    const folder = join(opened.dataFolder, "outbox");
    // A mail that is being written has another ending.
    const written = async () =>
      (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".eml")).sort();
    await expect.poll(written).toHaveLength(count);
    const names = await written();
    return Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  }

  test("the answer does not tell whether an address is known, and a mailbox cannot be flooded", async () => {
    const subscribe = (email: string) =>
      get("/subscribe", form({ email, timeZone: "UTC", hour: "8", weekday: "1" }));
    const first = await (await subscribe("reader@example.org")).text();
    const again = await (await subscribe("reader@example.org")).text();
    const plain = (html: string) => html.replaceAll(/nonce-[^"']+|nonce="[^"]+"/g, "");
    expect(plain(again)).toBe(plain(first));
    expect(first).toContain("Look into your inbox");
    const mails = await outbox(1);
    expect(mails[0]).toContain("/confirm/");
  });

  test("a wrong address is explained, and no header can be smuggled in", async () => {
    const response = await get("/subscribe", form({ email: "a@example.org\r\nBcc: all@example.org" }));
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("email is not a mail address");
  });

  test("too many wishes from one address have to wait", async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) {
      const response = await get("/subscribe", form({ email: "not an address" }));
      statuses.push(response.status);
      if (response.status === 429) expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(statuses.at(-1)).toBe(429);
  });

  test("mail programs end a subscription with one request, without cookie or origin", async () => {
    const { subscriberId, confirmation } = await opened.library.subscriptions.subscribe({
      email: "one@example.org",
    });
    await opened.library.subscriptions.confirm(confirmation!);
    const { unsubscribe } = opened.library.subscriptions.linkTokens(subscriberId, new Date());
    const wish = form({ "List-Unsubscribe": "One-Click" }, { origin: "https://mail.example", accept: "*/*" });
    const response = await get(`/unsubscribe/${unsubscribe}`, wish);
    expect(response.status).toBe(200);
    expect((await opened.library.subscriptions.get(subscriberId))!.state).toBe("unsubscribed");
  });

  test("a forged link changes nothing and says so", async () => {
    for (const path of ["/confirm/forged", "/unsubscribe/forged"]) {
      const response = await get(path, form({}));
      expect(response.status).toBe(400);
      expect(await response.text()).toContain("This link is damaged");
    }
  });
});
