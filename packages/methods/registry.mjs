/**
 * Writes registry.generated.ts (papers) and experiments.generated.ts (what loads their experiments, without a word about
 * the papers, for pages that run one) from the rooms under a folder (default src), and for each family with a shared task
 * contenders.generated.ts from its rooms' contender.ts, so that adding a paper means adding one folder. Part of
 * `npm run build`; exits 1 naming the file when a paper.json is not JSON or lies in the wrong folder.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const source = process.argv[2] ?? join(import.meta.dirname, "src");
const foldersIn = (folder) =>
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();

const rooms = [];
const tasks = [];
for (const family of foldersIn(source)) {
  const contenders = [];
  for (const slug of foldersIn(join(source, family))) {
    const folder = join(source, family, slug);
    const path = join(folder, "paper.json");
    if (!existsSync(path)) continue;
    const has = (name) => existsSync(join(folder, name));
    if (has("contender.ts")) contenders.push(slug);
    rooms.push({
      paper: readPaper(path, family, slug),
      method: has("method.ts"),
      experiment: has("experiment.ts"),
    });
  }
  if (!existsSync(join(source, family, "task.ts"))) continue;
  tasks.push(family);
  write(join(source, family, "contenders.generated.ts"), contendersModule(contenders));
}

const entries = rooms.map(({ paper, method, experiment }) => {
  const load = experiment ? `experiments["${paper.slug}"]!` : "null";
  return `  { paper: ${JSON.stringify(paper)}, hasMethod: ${method}, loadExperiment: ${load} },\n`;
});
write(
  join(source, "registry.generated.ts"),
  `import { experiments } from "./experiments.generated.ts";
import type { Room } from "./rooms.ts";

export const rooms: readonly Room[] = [
${entries.join("")}];
`,
);

const loader = (name, path) => `  "${name}": () => import("${path}"),\n`;
const experiments = rooms.filter(({ experiment }) => experiment).map(({ paper }) => paper);
write(
  join(source, "experiments.generated.ts"),
  `import type { Experiments } from "./rooms.ts";

export const experiments: Experiments = {
${experiments.map(({ family, slug }) => loader(slug, `./${family}/${slug}/experiment.ts`)).join("")}};

export const tasks: Experiments = {
${tasks.map((family) => loader(family, `./${family}/task.ts`)).join("")}};
`,
);

/** What the family's rooms enter in its shared task, by name. */
function contendersModule(slugs) {
  const imports = slugs.map((slug, i) => `import room${i} from "./${slug}/contender.ts";\n`);
  const entries = slugs.map((_, i) => `  ...room${i},\n`);
  return `import type { Contender } from "./family.ts";
${imports.join("")}
export const contenders: Readonly<Record<string, Contender>> = {
${entries.join("")}};
`;
}

function write(path, text) {
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
}

function readPaper(path, family, slug) {
  let paper;
  try {
    paper = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    fail(`${path}: ${error.message}`);
  }
  if (paper.family !== family || paper.slug !== slug) {
    fail(`${path}: says ${paper.family}/${paper.slug}, but its folder is ${family}/${slug}`);
  }
  return paper;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
