import { toJsonSchema } from "@valibot/to-json-schema";
import type { GenericSchema } from "valibot";
import { type ApiOperation, errorSchema, operations } from "./operations.ts";

/** An OpenAPI document, as JSON. */
export type ApiDocument = Readonly<Record<string, unknown>>;

const REASONS = {
  400: "The request makes no sense; `error` says why.",
  403: "The request came from another site.",
  404: "There is no such thing.",
  429: "Too many requests; `Retry-After` says how long to wait.",
} as const;

/** The OpenAPI 3.1 document of the HTTP API, made from the schemas that answers are typed by. */
export function openApiDocument(address: string): ApiDocument {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    paths[operation.path] ??= {};
    paths[operation.path]![operation.method] = describe(operation);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Prior Art",
      version: "1",
      description: "Papers, search, trending, votes and results of a Prior Art library.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: address }],
    paths,
  };
}

function describe({ id, summary, parameters, answer, refusals }: ApiOperation) {
  const responses: Record<string, unknown> = { 200: { description: "The answer", content: json(answer) } };
  for (const status of [...refusals, 429] as const)
    responses[status] = { description: REASONS[status], content: json(errorSchema) };
  return {
    operationId: id,
    summary,
    parameters: parameters.map(({ name, in: place, description, type, required = false, values }) => ({
      name,
      in: place,
      description,
      required,
      schema: { type, ...(values ? { enum: values } : {}) },
    })),
    responses,
  };
}

function json(schema: GenericSchema) {
  const { $schema: _, ...described } = toJsonSchema(schema);
  return { "application/json": { schema: described } };
}
