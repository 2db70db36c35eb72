import { readFile } from "node:fs/promises";
import * as v from "valibot";
import { ConfigurationError } from "../configuration.ts";
import { IMPORT_FORMATS } from "../import/importFile.ts";

const address = v.pipe(
  v.string(),
  v.check(
    (value) => URL.canParse(value) && /^https?:$/u.test(new URL(value).protocol),
    "is not a web address",
  ),
);

const sourceSchema = v.object({
  /** Names the source in reports and in the database. */
  name: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9-]{0,60}$/u, "may only contain a–z, 0–9 and dash")),
  url: address,
  format: v.picklist(IMPORT_FORMATS),
  /** Least minutes between two polls. */
  everyMinutes: v.optional(v.pipe(v.number(), v.minValue(1)), 60),
  /** Papers a page, for addresses that take `start` and `max_results` as arXiv's API does; not paged when left out. */
  pageSize: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(2000))),
  /** Least seconds between two pages; arXiv asks for three. */
  secondsBetweenPages: v.optional(v.pipe(v.number(), v.minValue(0)), 3),
});

/** A place from which new papers come. */
export type Source = v.InferOutput<typeof sourceSchema>;

/**
 * Reads the sources from a JSON file: a list of objects with name, url and format.
 *
 * @throws ConfigurationError when the file is missing or broken
 */
export async function readSources(file: string): Promise<Source[]> {
  let content: unknown;
  try {
    content = JSON.parse(await readFile(file, "utf8"));
  } catch {
    throw new ConfigurationError(`${file} does not exist or is not JSON`);
  }
  return parseSources(content, file);
}

/** @throws ConfigurationError */
export function parseSources(content: unknown, from = "The list of sources"): Source[] {
  const result = v.safeParse(v.array(sourceSchema), content);
  if (!result.success) {
    const [issue] = result.issues;
    throw new ConfigurationError(`${from}: ${v.getDotPath(issue) ?? "it"} ${issue.message}`);
  }
  const names = new Set(result.output.map(({ name }) => name));
  if (names.size < result.output.length)
    throw new ConfigurationError(`${from}: two sources have the same name`);
  return result.output;
}
