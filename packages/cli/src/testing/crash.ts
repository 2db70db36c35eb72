/** Kills the site many times over and prints what was found: node packages/cli/dist/testing/crash.js [KILLS]. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crashLoop } from "./crashLoop.ts";

const kills = Number(process.argv[2] ?? 200);
const folder = await mkdtemp(join(tmpdir(), "prior-art-crash-"));
const { startups, ...counts } = await crashLoop({
  kills,
  folder,
  onKill: (kill, startup) =>
    process.stderr.write(
      `${kill} of ${kills}${startup === undefined ? "" : `, served after ${startup.toFixed(1)} s`}\n`,
    ),
});
await rm(folder, { recursive: true, force: true });
const sorted = [...startups].sort((a, b) => a - b);
const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
process.stdout.write(
  `${JSON.stringify({ ...counts, startupSeconds: { median: at(0.5), p95: at(0.95), most: sorted.at(-1) } }, null, 1)}\n`,
);
