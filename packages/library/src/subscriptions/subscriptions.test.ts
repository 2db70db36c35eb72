import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dueDay } from "../digest/sendDigests.ts";
import { describeOnEachDatabase } from "../testing/databases.ts";
import { NOON } from "../testing/papers.ts";
import { InvalidTokenError } from "../tokens/tokens.ts";
import type { Subscriber } from "./subscriber.ts";
import { InvalidSubscriptionError } from "./subscriptions.ts";
import { localTime } from "./timeZone.ts";

const later = (seconds: number) => new Date(NOON.getTime() + seconds * 1000);

describeOnEachDatabase("subscriptions", (bed) => {
  const subscribe = (request: object = {}, now = NOON) =>
    bed().library.subscriptions.subscribe({ email: "ada@example.org", ...request }, now);
  const confirm = async (request: object = {}) => {
    const { confirmation } = await subscribe(request);
    return (await bed().library.subscriptions.confirm(confirmation!, NOON))!;
  };

  test("nobody is active before the link in the mail was followed", async () => {
    const { subscriberId, confirmation } = await subscribe({ topics: ["optimal transport"], hour: 6 });
    expect(await bed().library.subscriptions.get(subscriberId)).toMatchObject({ state: "pending" });
    expect(await bed().library.subscriptions.confirm(confirmation!, NOON)).toMatchObject({
      state: "active",
      email: "ada@example.org",
      hour: 6,
      interests: { topics: ["optimal transport"], families: [], searches: [] },
    });
    expect(await bed().library.subscriptions.confirm(confirmation!, NOON)).toMatchObject({ state: "active" });
  });

  test("a link works for two days and a forged one never", async () => {
    const { confirmation, subscriberId } = await subscribe();
    const { confirm } = bed().library.subscriptions;
    await expect(
      confirm.call(bed().library.subscriptions, confirmation!, later(2 * 86_400 + 1)),
    ).rejects.toThrow("expired");
    await expect(bed().library.subscriptions.confirm(`${confirmation}x`, NOON)).rejects.toThrow(
      InvalidTokenError,
    );
    await expect(bed().library.subscriptions.unsubscribe(confirmation!, NOON)).rejects.toThrow(
      InvalidTokenError,
    );
    expect(await bed().library.subscriptions.get(subscriberId)).toMatchObject({ state: "pending" });
  });

  test("asking again and again sends one mail in ten minutes", async () => {
    const requests = await Promise.all(Array.from({ length: 20 }, () => subscribe()));
    expect(requests.filter(({ confirmation }) => confirmation !== undefined)).toHaveLength(1);
    expect((await subscribe({}, later(599))).confirmation).toBeUndefined();
    expect((await subscribe({}, later(601))).confirmation).toBeDefined();
  });

  test("a stranger cannot change or restart an active subscription", async () => {
    const subscriber = await confirm({ hour: 6 });
    expect((await subscribe({ hour: 23 }, later(86_400))).confirmation).toBeUndefined();
    expect(await bed().library.subscriptions.get(subscriber.id)).toMatchObject({ state: "active", hour: 6 });
  });

  test("the owner changes interests and schedule but not the address", async () => {
    const { id } = await confirm();
    const { manage } = bed().library.subscriptions.linkTokens(id, NOON);
    const changes = { email: "other@example.org", frequency: "weekly", weekday: 5, timeZone: "Asia/Tokyo" };
    expect(await bed().library.subscriptions.change(manage, changes, NOON)).toMatchObject({
      email: "ada@example.org",
      frequency: "weekly",
      weekday: 5,
      timeZone: "Asia/Tokyo",
    });
  });

  test("unsubscribing takes effect at once, again does no harm, and an old confirmation does not undo it", async () => {
    const { confirmation, subscriberId } = await subscribe();
    await bed().library.subscriptions.confirm(confirmation!, NOON);
    const { unsubscribe } = bed().library.subscriptions.linkTokens(subscriberId, NOON);
    for (let attempt = 0; attempt < 2; attempt++)
      expect(await bed().library.subscriptions.unsubscribe(unsubscribe, NOON)).toMatchObject({
        state: "unsubscribed",
      });
    expect(await bed().library.subscriptions.confirm(confirmation!, NOON)).toMatchObject({
      state: "unsubscribed",
    });
  });

  test("the third bounce in a row suspends; a delivery in between forgives", async () => {
    const { id } = await confirm();
    const { subscriptions } = bed().library;
    await subscriptions.recordBounce(id);
    await subscriptions.recordBounce(id);
    await subscriptions.recordDelivery(id);
    await subscriptions.recordBounce(id);
    await subscriptions.recordBounce(id);
    expect(await subscriptions.get(id)).toMatchObject({ state: "active" });
    await subscriptions.recordBounce(id);
    expect(await subscriptions.get(id)).toMatchObject({ state: "suspended" });
    const again = await subscribe({}, later(3600));
    expect(await subscriptions.confirm(again.confirmation!, later(3600))).toMatchObject({ state: "active" });
  });

  test.each([
    ["a@b", "email"],
    ["a@b.c\r\nBcc: x@y.z", "email"],
    ["a@b.c, x@y.z", "email"],
    ['"a b"@c.d', "email"],
    ["<a@b.c>", "email"],
    [`${"a".repeat(250)}@b.c`, "email"],
    [undefined, "email"],
  ])("the address %j is refused", async (email, field) => {
    await expect(subscribe({ email })).rejects.toThrow(InvalidSubscriptionError);
    await expect(subscribe({ email })).rejects.toThrow(field);
  });

  test.each([
    [{ timeZone: "Mars/Olympus" }, "timeZone"],
    [{ hour: 24 }, "hour"],
    [{ weekday: 0 }, "weekday"],
    [{ frequency: "hourly" }, "frequency"],
    [{ topics: Array.from({ length: 51 }, () => "x") }, "topics"],
    [{ searches: ["x".repeat(201)] }, "searches"],
  ])("the wish %j is refused", async (wish, field) => {
    await expect(subscribe(wish)).rejects.toThrow(field);
  });
});

describe("the subscriber's clock", () => {
  const subscriber = (changes: Partial<Subscriber>): Subscriber => ({
    id: "s",
    email: "a@b.c",
    state: "active",
    frequency: "daily",
    weekday: 1,
    hour: 8,
    timeZone: "UTC",
    interests: { topics: [], families: [], searches: [] },
    ...changes,
  });

  test("reads the date and hour of the place", () => {
    const moment = new Date("2026-03-01T23:30:00Z");
    expect(localTime(moment, "Pacific/Auckland")).toEqual({ day: "2026-03-02", hour: 12, weekday: 1 });
    expect(localTime(moment, "America/Los_Angeles")).toEqual({ day: "2026-03-01", hour: 15, weekday: 7 });
    expect(localTime(new Date("2026-03-01T00:10:00Z"), "UTC")).toEqual({
      day: "2026-03-01",
      hour: 0,
      weekday: 7,
    });
  });

  /** The days on which a digest is due when the scheduler looks every five minutes. */
  function dueDays(wanted: Subscriber, from: string, hours: number): string[] {
    const start = Date.parse(from);
    const moments = Array.from({ length: hours * 12 }, (_, tick) => new Date(start + tick * 300_000));
    return [...new Set(moments.map((moment) => dueDay(wanted, moment)).filter((day) => day !== undefined))];
  }

  test("the hour that does not exist in spring is not missed", () => {
    const wanted = subscriber({ timeZone: "Europe/Berlin", hour: 2 });
    expect(dueDays(wanted, "2026-03-28T22:00:00Z", 30)).toEqual(["2026-03-28", "2026-03-29", "2026-03-30"]);
    expect(dueDay(wanted, new Date("2026-03-29T00:59:00Z"))).toBeUndefined();
    expect(dueDay(wanted, new Date("2026-03-29T01:00:00Z"))).toBe("2026-03-29");
  });

  test("the hour that comes twice in autumn belongs to one day", () => {
    const wanted = subscriber({ timeZone: "Europe/Berlin", hour: 2 });
    expect(dueDay(wanted, new Date("2026-10-25T00:30:00Z"))).toBe("2026-10-25");
    expect(dueDay(wanted, new Date("2026-10-25T01:30:00Z"))).toBe("2026-10-25");
  });

  test("in every zone, at every hour, each day of a year is due exactly once", () => {
    const zones = [
      "Pacific/Apia",
      "America/St_Johns",
      "Africa/Casablanca",
      "Asia/Kathmandu",
      "Australia/Lord_Howe",
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.integer({ min: 0, max: 23 }),
        fc.nat(360),
        (timeZone, hour, offset) => {
          const from = new Date(Date.UTC(2026, 0, 1 + offset, 12)).toISOString();
          const days = dueDays(subscriber({ timeZone, hour }), from, 24 * 4);
          const consecutive = days
            .slice(1)
            .every((day, index) => Date.parse(day) - Date.parse(days[index]!) === 86_400_000);
          expect(consecutive).toBe(true);
          expect(days.length).toBeGreaterThanOrEqual(4);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("a weekly digest is due on its weekday only, and nobody else than active subscribers gets one", () => {
    const tuesday = subscriber({ frequency: "weekly", weekday: 2 });
    expect(dueDays(tuesday, "2026-03-08T00:00:00Z", 24 * 8)).toEqual(["2026-03-10"]);
    for (const state of ["pending", "suspended", "unsubscribed"] as const)
      expect(dueDay(subscriber({ state }), NOON)).toBeUndefined();
  });
});
