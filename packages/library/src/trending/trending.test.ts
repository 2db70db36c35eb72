import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describeOnEachDatabase } from "../testing/databases.ts";
import { builtIn, NOON } from "../testing/papers.ts";
import { InvalidTokenError, Tokens } from "../tokens/tokens.ts";
import { type TrendingWindow, trendingScore } from "./trendingScore.ts";
import { UnknownPaperError } from "./votes.ts";

const HOUR = 3_600_000;
const hoursAgo = (hours: number) => new Date(NOON.getTime() - hours * HOUR);

const times = fc.array(fc.integer({ min: -48, max: 2000 }).map(hoursAgo), { maxLength: 20 });
const events = fc.record({
  votes: times,
  runs: times,
  since: fc.integer({ min: 0, max: 2000 }).map(hoursAgo),
});
const window = fc.constantFrom<TrendingWindow>("day", "week", "month");

describe("trendingScore", () => {
  test("one more vote never lowers it, and a vote in the window raises it", () => {
    fc.assert(
      fc.property(events, window, fc.integer({ min: 0, max: 100 }), (before, period, hours) => {
        const after = { ...before, votes: [...before.votes, hoursAgo(hours)] };
        expect(trendingScore(after, NOON, period)).toBeGreaterThan(trendingScore(before, NOON, period));
      }),
    );
  });

  test("without new events it only falls", () => {
    fc.assert(
      fc.property(events, window, fc.integer({ min: 1, max: 500 }), (happened, period, hours) => {
        const past = (list: Date[]) => list.filter((time) => time <= NOON);
        const settled = { ...happened, votes: past(happened.votes), runs: past(happened.runs) };
        const later = new Date(NOON.getTime() + hours * HOUR);
        expect(trendingScore(settled, later, period)).toBeLessThanOrEqual(
          trendingScore(settled, NOON, period),
        );
      }),
    );
  });

  test("the order in which events were recorded makes no difference, to the last bit", () => {
    fc.assert(
      fc.property(events, window, fc.integer(), (happened, period, seed) => {
        const shuffle = <Item>(list: Item[]) => list.toSorted((a, b) => hash(a, seed) - hash(b, seed));
        const replayed = { ...happened, votes: shuffle(happened.votes), runs: shuffle(happened.runs) };
        expect(trendingScore(replayed, NOON, period)).toBe(trendingScore(happened, NOON, period));
      }),
    );
  });

  test("a vote loses half its weight in half the window", () => {
    const voted = (hours: number) => ({ votes: [hoursAgo(hours)], runs: [], since: hoursAgo(100_000) });
    expect(trendingScore(voted(0), NOON, "day")).toBe(1);
    expect(trendingScore(voted(12), NOON, "day")).toBe(0.5);
    expect(trendingScore(voted(84), NOON, "week")).toBe(0.5);
    expect(trendingScore(voted(360), NOON, "month")).toBe(0.5);
  });

  test("votes from the future do not count", () => {
    expect(trendingScore({ votes: [hoursAgo(-1)], runs: [], since: hoursAgo(100_000) }, NOON, "day")).toBe(0);
  });
});

function hash(value: unknown, seed: number): number {
  return [...`${seed}${value}`].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) | 0, seed);
}

describe("tokens", () => {
  const tokens = new Tokens("a secret of sufficient length");

  test("a token says whom it was made for, until it expires", () => {
    const token = tokens.sign("voter", "somebody-1", 60, NOON);
    expect(tokens.verify("voter", token, NOON)).toBe("somebody-1");
    expect(() => tokens.verify("voter", token, new Date(NOON.getTime() + 61_000))).toThrow("expired");
  });

  test("no changed, shortened or repurposed token is accepted", () => {
    const token = tokens.sign("confirm", "somebody-1", 60, NOON);
    expect(() => tokens.verify("unsubscribe", token, NOON)).toThrow(InvalidTokenError);
    const alphabet = fc.constantFrom(..."abcXYZ019-_.");
    fc.assert(
      fc.property(fc.nat(token.length - 1), alphabet, (position, letter) => {
        fc.pre(token[position] !== letter);
        const forged = token.slice(0, position) + letter + token.slice(position + 1);
        expect(() => tokens.verify("confirm", forged, NOON)).toThrow(InvalidTokenError);
        expect(() => tokens.verify("confirm", token.slice(0, position), NOON)).toThrow(InvalidTokenError);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), (nonsense) => {
        expect(() => tokens.verify("confirm", nonsense, NOON)).toThrow(InvalidTokenError);
      }),
    );
  });

  test("another secret makes other tokens, and a short one is refused", () => {
    const other = new Tokens("another secret of that length");
    expect(() => tokens.verify("voter", other.sign("voter", "x", 60, NOON), NOON)).toThrow("not valid");
    expect(() => new Tokens("short")).toThrow(RangeError);
  });
});

describeOnEachDatabase("votes and trending", (bed) => {
  const ids = async (request = {}) =>
    (await bed().library.trending({ now: NOON, ...request })).map(({ paper }) => paper.id);

  test("everybody has one vote per paper, which can be taken back", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one"), builtIn("two")], hoursAgo(2000));
    const voter = library.votes.newVoter(NOON);
    expect(await library.votes.vote("one", voter, NOON)).toBe(true);
    expect(await library.votes.vote("one", voter, NOON)).toBe(false);
    const stranger = library.votes.newVoter(NOON);
    await library.votes.vote("one", stranger, NOON);
    expect(await library.votes.count(["one", "two"], voter, NOON)).toEqual(
      new Map([
        ["one", { votes: 2, own: true }],
        ["two", { votes: 0, own: false }],
      ]),
    );
    expect(await library.votes.withdraw("one", voter, NOON)).toBe(true);
    expect(await library.votes.withdraw("one", voter, NOON)).toBe(false);
    expect((await library.votes.count(["one"])).get("one")).toEqual({ votes: 1, own: false });
  });

  test("a hundred votes of one person at the same time are one vote", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one")], NOON);
    const voter = library.votes.newVoter(NOON);
    const accepted = await Promise.all(
      Array.from({ length: 100 }, () => library.votes.vote("one", voter, NOON)),
    );
    expect(accepted.filter(Boolean)).toHaveLength(1);
  });

  test("forged voters and unknown papers are refused and nothing is stored", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("one")], NOON);
    await expect(library.votes.vote("one", "me.zzzz.forged", NOON)).rejects.toThrow(InvalidTokenError);
    await expect(library.votes.vote("two", library.votes.newVoter(NOON), NOON)).rejects.toThrow(
      UnknownPaperError,
    );
    await expect(library.votes.recordRun("two", undefined, NOON)).rejects.toThrow(UnknownPaperError);
    expect((await library.votes.count(["one"])).get("one")!.votes).toBe(0);
  });

  test("votes and runs make papers trend; a person's runs count once a day", async () => {
    const { library } = bed();
    await library.syncCollection(
      ["one", "two", "three"].map((slug) => builtIn(slug)),
      hoursAgo(2000),
    );
    await library.votes.vote("two", library.votes.newVoter(NOON), hoursAgo(1));
    for (let repeat = 0; repeat < 5; repeat++) await library.votes.recordRun("three", undefined, hoursAgo(1));
    expect(await ids()).toEqual(["two", "three"]);
    expect(await ids({ family: "none" })).toEqual([]);
    expect(await ids({ now: new Date(NOON.getTime() + 3000 * HOUR) })).toEqual([]);
  });

  test("a fresh collection trends by newness", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("old")], hoursAgo(200));
    await library.syncCollection([builtIn("old"), builtIn("new")], hoursAgo(1));
    expect(await ids()).toEqual(["new", "old"]);
  });
});
