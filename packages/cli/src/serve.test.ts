import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const bin = fileURLToPath(new URL("../bin/prior-art.js", import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prior-art-serve-"));
});
afterEach(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));

test("a site that is asked to stop answers what it was asked, refuses what comes later, and ends with status 0", async () => {
  const child = spawn(process.execPath, [bin, "serve", "--port", "0", "--data", folder, "--log", "json"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, DATABASE_URL: "" },
  });
  try {
    let log = "";
    const port = await new Promise<number>((resolve, reject) => {
      child.stderr.on("data", (chunk) => {
        log += chunk;
        const [, found] = /at http:\/\/127\.0\.0\.1:(\d+)\//.exec(log) ?? [];
        if (found) resolve(Number(found));
      });
      child.once("exit", () => reject(new Error(log)));
    });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    const body = "email=reader%40example.org";
    const begun = request({
      host: "127.0.0.1",
      port,
      path: "/subscribe",
      method: "POST",
      headers: {
        host: `localhost:${port}`,
        origin: `http://localhost:${port}`,
        accept: "application/json",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": body.length,
      },
    });
    const answered = new Promise<number>((resolve, reject) => {
      begun.once("response", (response) => {
        response.resume();
        response.once("end", () => resolve(response.statusCode!));
      });
      begun.once("error", reject);
    });
    await new Promise((resolve) => begun.write(body.slice(0, 10), resolve));
    // The site has seen the beginning of the request once it answers a later one.
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    child.kill("SIGTERM");
    const refused = async () => {
      for (;;) {
        const reply = await fetch(`http://127.0.0.1:${port}/healthz`).catch((error: Error) => error);
        if (reply instanceof Error) return true;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    expect(await refused()).toBe(true);
    begun.end(body.slice(10));
    expect(await answered).toBe(200);
    expect(await ended).toBe(0);
    const lines = log
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.filter(({ route }) => route === "/subscribe")).toMatchObject([
      { status: 200, method: "POST" },
    ]);
    expect(log).not.toContain("reader");
  } finally {
    child.kill("SIGKILL");
  }
});
