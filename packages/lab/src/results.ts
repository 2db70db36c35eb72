import * as v from "valibot";

/** JSON has no NaN or infinities; results do (unbounded intervals, diverged metrics), so they travel as strings. */
const numberSchema = v.union([
  v.number(),
  v.pipe(v.picklist(["NaN", "Infinity", "-Infinity"]), v.transform(Number)),
]);

type Nested = number | Nested[];
const metricSchema: v.GenericSchema<unknown, Nested> = v.union([
  numberSchema,
  v.array(v.lazy(() => metricSchema)),
]);
const hyperparametersSchema = v.record(v.string(), v.union([v.number(), v.string(), v.boolean()]));
const verdictSchema = v.picklist(["reproduced", "partly", "not reproduced"]);
const modeSchema = v.picklist(["full", "quick"]);
const text = v.string();

export const unitResultSchema = v.object({
  mode: modeSchema,
  phase: v.picklist(["tune", "test"]),
  arm: text,
  seed: v.pipe(v.number(), v.integer()),
  hyperparameters: hyperparametersSchema,
  status: v.picklist(["finished", "diverged"]),
  reason: v.exactOptional(text),
  metrics: v.record(text, metricSchema),
  seconds: v.number(),
});

const claimResultSchema = v.object({
  id: text,
  of: text,
  kind: v.picklist(["comparison", "scaling", "deterministic", "statistic"]),
  statement: text,
  verdict: verdictSchema,
  quantity: text,
  effect: numberSchema,
  interval: v.object({ low: numberSchema, high: numberSchema }),
  pValue: v.exactOptional(v.number()),
  perSeed: v.array(v.object({ seed: v.number(), value: numberSchema })),
  diverged: v.array(v.object({ arm: text, seed: v.number() })),
  reason: text,
});

/** Where the numbers were made. */
export const environmentSchema = v.object({
  machine: v.object({ cpu: text, cores: v.number(), memoryGiB: v.number(), platform: text }),
  versions: v.record(text, text),
});

export const resultsSchema = v.object({
  format: v.literal(1),
  slug: text,
  mode: modeSchema,
  finishedAt: v.pipe(text, v.isoTimestamp()),
  environment: environmentSchema,
  /** Digest of the code that the numbers came from. */
  codeVersion: text,
  settings: v.unknown(),
  seeds: v.array(v.number()),
  arms: v.array(
    v.object({
      name: text,
      label: text,
      problem: v.exactOptional(text),
      hyperparameters: hyperparametersSchema,
    }),
  ),
  tuning: v.array(
    v.object({
      arm: text,
      hyperparameters: hyperparametersSchema,
      seeds: v.array(v.number()),
      score: v.nullable(v.number()),
      chosen: v.boolean(),
    }),
  ),
  units: v.array(unitResultSchema),
  claims: v.array(claimResultSchema),
  verdict: v.nullable(verdictSchema),
  /** Computing time of all units, tuning included, whoever ran them and when. */
  seconds: v.number(),
});

export type Environment = v.InferOutput<typeof environmentSchema>;
export type Results = v.InferOutput<typeof resultsSchema>;

/** A stored file that cannot be what the lab wrote. */
export class CorruptedError extends Error {
  override readonly name = "CorruptedError";
}

/** JSON text of a valid value; NaN and infinities become strings. */
export function encode<S extends v.GenericSchema>(
  schema: S,
  value: v.InferOutput<S>,
  indent?: number,
): string {
  const json = JSON.stringify(
    value,
    (_, item) => (typeof item === "number" && !Number.isFinite(item) ? String(item) : item),
    indent,
  );
  decode(schema, json);
  return `${json}\n`;
}

/**
 * Reads what `encode` wrote.
 *
 * @throws CorruptedError naming the first field that is wrong.
 */
export function decode<S extends v.GenericSchema>(schema: S, json: string): v.InferOutput<S> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new CorruptedError(`not JSON: ${(error as Error).message}`);
  }
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0]!;
  throw new CorruptedError(`${v.getDotPath(issue) ?? "the document"}: ${issue.message}`);
}
