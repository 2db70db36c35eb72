import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { rooms } from "@prior-art/methods";
import { quantile, randomStream } from "@prior-art/toolkit/stats";
import { load } from "./site/load.mjs";

const RATE = 200;
const SECONDS = Number(process.env.BENCH_SECONDS ?? 60);
/** Milliseconds within which 95 of 100 pages are to be made. */
const TARGET = 20;

/** The built server in a process of its own under a steady load of mixed pages. Without a peer: ours against the target. */
export async function run({ notice }) {
  const data = mkdtempSync(join(tmpdir(), "prior-art-bench-"));
  const server = await startServer(data);
  try {
    const random = randomStream(0, "pages");
    const pick = (list) => list[random.integer(list.length)];
    const slugs = rooms.map(({ paper }) => paper.slug);
    const families = [...new Set(rooms.map(({ paper }) => paper.family))];
    const questions = rooms.map(({ paper }) => paper.problem);
    const kinds = {
      reading: () =>
        pick([
          () => "/",
          () => `/families/${pick(families)}`,
          ...Array(6).fill(() => `/papers/${pick(slugs)}`),
        ])(),
      search: () => `/search?q=${encodeURIComponent(pick(questions))}`,
      api: () => pick([() => `/api/papers/${pick(slugs)}`, () => "/api/trending", () => "/api/families"])(),
    };
    const mix = [...Array(7).fill("reading"), ...Array(2).fill("search"), "api"];
    const kindOf = [];
    const pathOf = (i) => {
      kindOf[i] = pick(mix);
      return kinds[kindOf[i]]();
    };
    notice("warming up for 10 s");
    await load({ address: server.address, rate: RATE / 2, seconds: 10, pathOf });
    const before = memory(server.pid);
    kindOf.length = 0;
    notice(`${RATE} requests a second for ${SECONDS} s`);
    const answers = await load({ address: server.address, rate: RATE, seconds: SECONDS, pathOf });
    const errors = answers.filter(({ status }) => status !== 200);
    if (errors.length) notice(`${errors.length} errors, the first: ${errors[0].status} ${errors[0].url}`);
    const rows = Object.keys(kinds).flatMap((kind) => {
      const latencies = answers.filter((_, i) => kindOf[i] === kind).map(({ latency }) => latency);
      return [0.5, 0.95, 0.99].map((q) => {
        const ours = quantile(latencies, q);
        const name = `${kind}, p${100 * q} of ${latencies.length}`;
        return { suite: "site", case: name, ours, peer: TARGET, peerName: "target", ratio: TARGET / ours };
      });
    });
    const after = memory(server.pid);
    return [
      ...rows,
      {
        suite: "site",
        case: `errors of ${answers.length}`,
        ours: errors.length,
        peer: 0,
        peerName: "target",
        ratio: errors.length === 0 ? 1 : 0,
        unit: "answers",
      },
      {
        suite: "site",
        case: "memory after the load",
        ours: after,
        peer: before,
        peerName: "before the load",
        ratio: before / after,
        unit: "MiB",
      },
    ];
  } finally {
    server.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

async function startServer(data) {
  const command = fileURLToPath(new URL("../packages/cli/bin/prior-art.js", import.meta.url));
  const args = [command, "serve", "--port", "0", "--data", data];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: child.stderr })) {
    const address = /http:\/\/[\d.]+:\d+/.exec(line)?.[0];
    if (address) {
      child.stderr.resume();
      return { address, pid: child.pid, stop: () => child.kill("SIGTERM") };
    }
  }
  throw new Error("the server did not start");
}

/** Resident memory of a process, MiB. */
function memory(pid) {
  const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) / 1024;
}
