import { openApiDocument } from "$service/api/openapi.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = ({ locals }) => Response.json(openApiDocument(locals.site.address));
