import { refuse } from "$lib/server/api";
import { paperDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) => {
  const page = await locals.site.paper(params.id);
  return page ? Response.json(paperDocument(page.paper)) : refuse(404, "there is no such paper");
};
