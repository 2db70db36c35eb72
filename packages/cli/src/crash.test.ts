import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { crashLoop } from "./testing/crashLoop.ts";

test("a site that is killed over and over keeps all that it accepted, and sends nothing twice", async () => {
  const folder = await mkdtemp(join(tmpdir(), "prior-art-crash-"));
  try {
    const report = await crashLoop({ kills: 8, folder });
    expect(report.kills).toBe(8);
    expect(report.letters).toBe(12);
    expect(report.votes).toBeGreaterThanOrEqual(6);
    expect(report.subscriptions).toBeGreaterThanOrEqual(6);
    expect(report.papers).toBeGreaterThanOrEqual(6 * 40);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}, 600_000);
