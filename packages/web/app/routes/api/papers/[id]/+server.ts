import { refuse } from "$lib/server/api";
import { paperDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) => {
  const paper = await locals.site.find(params.id);
  return paper ? Response.json(paperDocument(paper)) : refuse(404, "there is no such paper");
};
