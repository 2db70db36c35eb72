/**
 * Writes docs/RESULTS.md and docs/LEADERBOARDS.md from what the lab kept with the papers and families. With --check it
 * writes nothing and exits 1 when one of them is out of date.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { leaderboardsDocument, resultsDocument } from "@prior-art/lab";
import { readResults } from "@prior-art/lab/node";
import { rooms, tasks } from "@prior-art/methods";
import { leaderboardFile, roomFolder } from "@prior-art/methods/places";

const papers = [];
for (const room of rooms) {
  const results = await readResults(fileURLToPath(new URL("results.json", roomFolder(room))));
  if (results) papers.push({ paper: room.paper, results });
}
const families = [];
for (const [family, load] of Object.entries(tasks)) {
  const results = await readResults(fileURLToPath(leaderboardFile(family)));
  if (results) families.push({ family, experiment: (await load()).default, results });
}

const documents = {
  "RESULTS.md": resultsDocument(papers),
  "LEADERBOARDS.md": leaderboardsDocument(families),
};
for (const [name, text] of Object.entries(documents)) {
  const path = join(import.meta.dirname, name);
  if (existsSync(path) && readFileSync(path, "utf8") === text) continue;
  if (process.argv.includes("--check")) {
    console.error(`docs/${name} is out of date; npm run docs writes it again`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, text);
  }
}
