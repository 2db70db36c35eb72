import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { ConfigurationError } from "../configuration.ts";
import { describeOnEachDatabase } from "../testing/databases.ts";
import { NOON } from "../testing/papers.ts";
import { FetchFailedError, politeFetch } from "./politeFetch.ts";
import { parseSources, readSources, type Source } from "./sources.ts";
import { syncSources } from "./syncSources.ts";

const servers: Server[] = [];

/** Serves on a loopback port until the test ends. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

describe("politeFetch", () => {
  test("says who it is and sends the validators of the last answer", async () => {
    const seen: unknown[] = [];
    const address = await serve(({ headers }, response) => {
      seen.push([headers["user-agent"], headers["if-none-match"], headers["if-modified-since"]]);
      if (headers["if-none-match"] === '"v1"') response.writeHead(304).end();
      else response.setHeader("etag", '"v1"').end("text");
    });
    const first = await politeFetch(address);
    expect(Buffer.from(first.body!).toString()).toBe("text");
    expect(await politeFetch(address, { etag: first.etag })).toMatchObject({ body: undefined, etag: '"v1"' });
    expect(seen).toEqual([
      [expect.stringContaining("prior-art"), undefined, undefined],
      [expect.stringContaining("prior-art"), '"v1"', undefined],
    ]);
  });

  test("follows redirects on the same host", async () => {
    const address = await serve(({ url }, response) => {
      if (url === "/new") response.end("here");
      else response.writeHead(301, { location: "/new" }).end();
    });
    expect(Buffer.from((await politeFetch(`${address}/old`)).body!).toString()).toBe("here");
  });

  test("never asks a host that a server redirects to", async () => {
    let asked = 0;
    const inside = await serve((_, response) => {
      asked++;
      response.end("secret");
    });
    const address = await serve((_, response) => response.writeHead(302, { location: inside }).end());
    await expect(politeFetch(address)).rejects.toThrow("which is not configured");
    const file = await serve((_, response) =>
      response.writeHead(302, { location: "file:///etc/passwd" }).end(),
    );
    await expect(politeFetch(file)).rejects.toThrow(FetchFailedError);
    expect(asked).toBe(0);
  });

  test.each<[string, RequestListener, string, number?]>([
    [
      "an endless chain of redirects",
      (_, response) => response.writeHead(302, { location: "/again" }).end(),
      "redirects more than",
    ],
    ["a server error", (_, response) => response.writeHead(500).end("oops"), "answered 500"],
    [
      "a body that is cut off",
      (_, response) => {
        response.writeHead(200, { "content-length": "1000" });
        response.write("beginning", () => response.destroy());
      },
      "did not answer properly",
    ],
    ["a connection that is closed", ({ socket }) => socket.destroy(), "did not answer properly"],
    [
      "one byte at a time",
      (_, response) => {
        const drip = setInterval(() => response.write("x"), 10);
        response.once("close", () => clearInterval(drip));
      },
      "took too long",
      300,
    ],
    ["an endless body", (_, response) => response.end("x".repeat(100_000)), "sent more than 50000 bytes"],
  ])("gives up on %s", async (_, listener, message, timeout = 60_000) => {
    const fetching = politeFetch(await serve(listener), { timeout, largest: 50_000 });
    await expect(fetching).rejects.toThrow(FetchFailedError);
    await expect(fetching).rejects.toThrow(message);
  });

  test("hears how long a busy server wants to be left alone", async () => {
    const address = await serve((_, response) => response.writeHead(429, { "retry-after": "120" }).end());
    await expect(politeFetch(address)).rejects.toMatchObject({ retryAfter: 120 });
  });
});

describe("sources", () => {
  const good = { name: "arxiv", url: "https://export.arxiv.org/api/query", format: "arxiv-atom" };

  test.each([
    [[{ ...good, url: "file:///etc/passwd" }], "web address"],
    [[{ ...good, format: "pdf" }], "0.format"],
    [[good, good], "same name"],
    [{}, "The list"],
  ])("refuses %j", (content, message) => {
    expect(() => parseSources(content)).toThrow(ConfigurationError);
    expect(() => parseSources(content)).toThrow(message);
  });

  test("fills in an hour between polls, and says which file is missing", async () => {
    expect(parseSources([good])).toMatchObject([{ everyMinutes: 60, secondsBetweenPages: 3 }]);
    await expect(readSources("no-such.json")).rejects.toThrow("no-such.json does not exist");
  });
});

describeOnEachDatabase("syncSources", (bed) => {
  const entry = (number: number) => ({
    title: `Paper ${number}`,
    arxiv: `2401.${String(number).padStart(5, "0")}`,
  });
  const titles = async () =>
    (await bed().library.papers({}, { limit: 1000 })).papers.map(({ title }) => title).sort();

  function source(url: string, rest: Partial<Source> = {}): Source {
    return { name: "test", url, format: "daily-papers", everyMinutes: 60, secondsBetweenPages: 3, ...rest };
  }

  /** A clock that only moves when told to. */
  function clock() {
    let moment = NOON.getTime();
    return {
      now: () => new Date(moment),
      advance: (seconds: number) => {
        moment += seconds * 1000;
      },
    };
  }

  test("polls when it is time, and not again before", async () => {
    let requests = 0;
    const address = await serve((_, response) => {
      requests++;
      response.end(JSON.stringify([entry(1), { title: "" }]));
    });
    const { now, advance } = clock();
    const sync = async () => (await syncSources(bed().library.database, [source(address)], { now }))[0]!;
    expect(await sync()).toMatchObject({ state: "complete", added: 1, skipped: 1 });
    expect(await sync()).toMatchObject({ state: "waiting" });
    advance(3601);
    expect(await sync()).toMatchObject({ state: "complete", added: 0, unchanged: 1 });
    expect(requests).toBe(2);
  });

  test("an unchanged document costs no body", async () => {
    const address = await serve(({ headers }, response) => {
      if (headers["if-none-match"] === '"1"') response.writeHead(304).end();
      else response.setHeader("etag", '"1"').end(JSON.stringify([entry(1)]));
    });
    const run = () =>
      syncSources(bed().library.database, [source(address)], { now: () => NOON, force: true });
    expect(await run()).toMatchObject([{ state: "complete" }]);
    expect(await run()).toMatchObject([{ state: "unchanged", added: 0 }]);
  });

  test("a failing server is left alone twice as long each time, or as long as it asks", async () => {
    const answers = [500, 503, 429, 200];
    const address = await serve((_, response) => {
      const status = answers.shift()!;
      response
        .writeHead(status, status === 429 ? { "retry-after": "7200" } : {})
        .end(JSON.stringify([entry(1)]));
    });
    const { now, advance } = clock();
    const waits: number[] = [];
    for (const state of ["failed", "failed", "failed", "complete"]) {
      const [report] = await syncSources(bed().library.database, [source(address)], { now });
      expect(report!.state).toBe(state);
      waits.push((report!.nextPollAt.getTime() - now().getTime()) / 1000);
      advance(waits.at(-1)! + 1);
    }
    expect(waits).toEqual([60, 120, 7200, 3600]);
  });

  test("one failing source does not keep the others from being polled", async () => {
    const bad = await serve((_, response) => response.end("[{"));
    const good = await serve((_, response) => response.end(JSON.stringify([entry(2)])));
    const sources = [source(bad, { name: "bad" }), source(good, { name: "good" })];
    const reports = await syncSources(bed().library.database, sources, { now: () => NOON });
    expect(reports).toMatchObject([
      { name: "bad", state: "failed", problem: "The file is not JSON" },
      { name: "good", state: "complete", added: 1 },
    ]);
  });

  test("reads pages with pauses until nothing is new, and goes on where it was stopped", async () => {
    let broken = true;
    const asked: number[] = [];
    const address = await serve(({ url }, response) => {
      const start = Number(new URL(url!, "http://x").searchParams.get("start"));
      asked.push(start);
      if (start === 4 && broken) response.destroy();
      else
        response.end(
          JSON.stringify(Array.from({ length: start === 6 ? 1 : 2 }, (_, at) => entry(start + at))),
        );
    });
    const pauses: number[] = [];
    const { now, advance } = clock();
    const run = () =>
      syncSources(bed().library.database, [source(`${address}/?q=cs.LG`, { pageSize: 2 })], {
        now,
        pause: async (milliseconds) => {
          pauses.push(milliseconds);
        },
      });
    expect(await run()).toMatchObject([{ state: "failed", added: 4 }]);
    broken = false;
    advance(61);
    expect(await run()).toMatchObject([{ state: "complete", added: 3 }]);
    expect(asked).toEqual([0, 2, 4, 4, 6]);
    expect(pauses).toEqual([3000, 3000, 3000]);
    expect(await titles()).toHaveLength(7);
    advance(3601);
    expect(await run()).toMatchObject([{ state: "complete", added: 0 }]);
    expect(asked.slice(5)).toEqual([0]);
  });
});
