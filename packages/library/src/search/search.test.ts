import { expect, test } from "vitest";
import { writePapers } from "../collection/writePapers.ts";
import { describeOnEachDatabase, describeOnServer } from "../testing/databases.ts";
import { hashingEmbedder } from "../testing/hashingEmbedder.ts";
import { builtIn, draft, NOON } from "../testing/papers.ts";
import { Embeddings } from "./embedding/embeddings.ts";
import { InvalidSearchError } from "./search.ts";

const COLLECTION = [
  builtIn("noisy-label-memorization", { family: "robustness", year: 2020, authors: ["Sheng Liu"] }),
  builtIn("weight-decay-decoupling", { family: "optimizers", year: 2019 }),
  builtIn("sinkhorn-newton", { family: "optimal-transport", year: 2024 }),
  builtIn("label-smoothing-calibration", { family: "neural-regularizers", year: 2023 }),
];

const idsOf = (page: { hits: { paper: { id: string } }[] }) => page.hits.map(({ paper }) => paper.id);

describeOnEachDatabase("search", (bed) => {
  const search = (query: string, rest = {}) => bed().library.search({ query, ...rest });

  test("finds a paper by its symptoms, whatever inflection is used", async () => {
    await bed().library.syncCollection(COLLECTION, NOON);
    expect(idsOf(await search("memorizes noisy labels"))[0]).toBe("noisy-label-memorization");
    expect(idsOf(await search("decoupled decaying weights"))[0]).toBe("weight-decay-decoupling");
  });

  test("shows a paper as it is now, also when an earlier search has shown it", async () => {
    await bed().library.syncCollection(COLLECTION, NOON);
    const first = (await search("noisy labels")).hits[0]!.paper;
    const renamed = { ...COLLECTION[0]!, title: "Another title" };
    await bed().library.syncCollection([renamed, ...COLLECTION.slice(1)], NOON);
    const { paper, title } = (await search("noisy labels")).hits[0]!;
    expect(paper.id).toBe(first.id);
    expect(paper.title).toBe("Another title");
    expect(title.map(({ text }) => text).join("")).toBe("Another title");
  });

  test("reads a misspelt word as the nearest one and says so", async () => {
    await bed().library.syncCollection(COLLECTION, NOON);
    const page = await search("sinkhron newtn");
    expect(idsOf(page)[0]).toBe("sinkhorn-newton");
    expect(page.corrections.map(({ readAs }) => readAs)).toEqual(["sinkhorn", "newton"]);
  });

  test("filters by family, year, author and verdict", async () => {
    const results = { verdict: "reproduced" };
    await bed().library.syncCollection([...COLLECTION.slice(0, 3), { ...COLLECTION[3]!, results }], NOON);
    expect(idsOf(await search("label", { family: "robustness" }))).toEqual(["noisy-label-memorization"]);
    expect(idsOf(await search("label", { year: 2023 }))).toEqual(["label-smoothing-calibration"]);
    expect(idsOf(await search("label", { author: "sheng" }))).toEqual(["noisy-label-memorization"]);
    expect(idsOf(await search("label", { verdict: "reproduced" }))).toEqual(["label-smoothing-calibration"]);
    expect((await search("label", { family: "nothing" })).total).toBe(0);
  });

  test("snippets mark the matching words and are the text otherwise", async () => {
    const problem = `${"Nothing of note here. ".repeat(30)}Suddenly the sinkhorn iterations stall. ${"More. ".repeat(90)}`;
    await bed().library.syncCollection([builtIn("transport", { problem: problem.trim() })], NOON);
    const { hits } = await search("sinkhorn iteration stalls");
    const matches = hits[0]!.snippet.filter(({ match }) => match).map(({ text }) => text);
    expect(matches).toEqual(["sinkhorn", "iterations", "stall"]);
    const text = hits[0]!.snippet.map((segment) => segment.text).join("");
    expect(problem).toContain(text.replaceAll("…", "").trim());
    expect(text.length).toBeLessThan(260);
  });

  test("a changed paper is found by its new text only", async () => {
    await bed().library.syncCollection([builtIn("first-text")], NOON);
    expect(idsOf(await search("grokking", { ranking: "text" }))).toEqual([]);
    await bed().library.syncCollection([builtIn("first-text", { problem: "Grokking never comes." })], NOON);
    expect(idsOf(await search("grokking", { ranking: "text" }))).toEqual(["first-text"]);
    await bed().library.syncCollection([builtIn("first-text", { problem: "All is well." })], NOON);
    expect(idsOf(await search("grokking", { ranking: "text" }))).toEqual([]);
  });

  test("pages continue the ranking of the first page although papers arrive in between", async () => {
    const { library } = bed();
    const papers = Array.from({ length: 25 }, (_, index) => builtIn(`sinkhorn-variant-${index}`));
    await library.syncCollection(papers, NOON);
    const whole = idsOf(await search("sinkhorn variant", { limit: 100 }));
    let page = await search("sinkhorn variant", { limit: 10 });
    const seen = idsOf(page);
    while (page.next !== undefined) {
      await library.syncCollection([...papers, builtIn(`sinkhorn-sinkhorn-${seen.length}`)], NOON);
      page = await search("sinkhorn variant", { limit: 10, after: page.next });
      seen.push(...idsOf(page));
    }
    expect(seen).toEqual(whole);
  });

  test("searching twice gives the same answer", async () => {
    await bed().library.syncCollection(COLLECTION, NOON);
    expect(await search("label weight")).toEqual(await search("label weight"));
  });

  test("similar papers share their subject; the paper itself and unknown ones have none", async () => {
    const { library } = bed();
    await library.syncCollection([...COLLECTION, builtIn("sinkhorn-acceleration")], NOON);
    expect((await library.similar("sinkhorn-newton"))[0]!.id).toBe("sinkhorn-acceleration");
    expect((await library.similar("sinkhorn-newton")).map(({ id }) => id)).not.toContain("sinkhorn-newton");
    expect(await library.similar("unknown")).toEqual([]);
  });

  test.each([
    ["' or 1=1; --"],
    ["\\ % _ $1 :* & | ! ( )"],
    ["<script>alert(1)</script>"],
    ["漢字 ℓ₂ 🦊"],
    ["why?"],
  ])("answers %s without harm", async (query) => {
    await bed().library.syncCollection(COLLECTION, NOON);
    expect((await search(query)).hits).toBeInstanceOf(Array);
    expect((await bed().library.papers()).papers).toHaveLength(COLLECTION.length);
  });

  test("refuses an empty search, an endless one and a made-up page mark", async () => {
    await expect(search("  ")).rejects.toThrow(InvalidSearchError);
    await expect(search("x".repeat(1001))).rejects.toThrow("longer than 1000");
    await expect(search("label", { after: "../../x" })).rejects.toThrow("page mark");
    await expect(search("label", { after: Buffer.from("1.-5").toString("base64url") })).rejects.toThrow(
      "page mark",
    );
  });

  test("papers are found by text before they are embedded", async () => {
    const { library } = bed();
    await writePapers(library.database, [draft({ title: "Unembedded sinkhorn" })], {
      source: "import",
      now: NOON,
    });
    expect((await search("sinkhorn")).total).toBe(1);
    expect((await search("sinkhorn", { ranking: "vectors" })).total).toBe(0);
    await library.embeddings.embedPending();
    expect((await search("sinkhorn", { ranking: "vectors" })).total).toBe(1);
  });

  test("while a new model embeds the papers, the old one answers; then its vectors are gone", async () => {
    const { library } = bed();
    await library.syncCollection(COLLECTION, NOON);
    const during: unknown[] = [];
    const slow = new Embeddings(library.database, "second", async (model) => ({
      ...hashingEmbedder(model),
      embed: async (texts) => {
        const { total } = await search("label", { ranking: "vectors" });
        during.push([await library.embeddings.activeModel(), total > 0]);
        return hashingEmbedder(model).embed(texts);
      },
    }));
    await slow.embedPending();
    expect(during.length).toBeGreaterThan(0);
    expect(new Set(during.map((entry) => JSON.stringify(entry)))).toEqual(new Set(['["hashing",true]']));
    expect(await library.embeddings.activeModel()).toBe("second");
    const models = await library.database.sql.selectFrom("embedding").select("model").distinct().execute();
    expect(models).toEqual([{ model: "second" }]);
    expect((await search("label", { ranking: "vectors" })).total).toBeGreaterThan(0);
  });

  test("embedding that was stopped goes on where it was", async () => {
    const { library } = bed();
    const papers = Array.from({ length: 150 }, (_, index) => draft({ title: `Paper ${index}` }));
    await writePapers(library.database, papers, { source: "import", now: NOON });
    const stop = new AbortController();
    const stopped = library.embeddings.embedPending({ signal: stop.signal, onProgress: () => stop.abort() });
    await expect(stopped).rejects.toThrow();
    expect(await library.embeddings.embedPending()).toBe(150 - 64);
  });
});

describeOnServer("search in several processes", (bed) => {
  test("a process finds what another one stored, at once", async () => {
    const { library, openAgain } = bed();
    const other = await openAgain();
    expect((await other.search({ query: "sinkhorn" })).total).toBe(0);
    await library.syncCollection(COLLECTION, NOON);
    expect(idsOf(await other.search({ query: "sinkhorn" }))[0]).toBe("sinkhorn-newton");
  });

  test("nothing is missed while several processes store papers at the same time", async () => {
    const { library, openAgain } = bed();
    const writers = [library, await openAgain(), await openAgain()];
    const reader = await openAgain();
    const writing = writers.flatMap((writer, who) =>
      Array.from({ length: 10 }, (_, index) =>
        writePapers(
          writer.database,
          [draft({ title: `Sinkhorn ${who} ${index}`, id: `p-${who}-${index}` })],
          {
            source: "import",
            now: NOON,
          },
        ),
      ),
    );
    let done = false;
    const all = Promise.all(writing).then(() => {
      done = true;
    });
    while (!done) await reader.search({ query: "sinkhorn", limit: 100 });
    await all;
    expect((await reader.search({ query: "sinkhorn", limit: 100 })).total).toBe(30);
  });
});
