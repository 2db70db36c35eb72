import { refuse } from "$lib/server/api";
import { resultsDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) => {
  const page = await locals.site.paper(params.id);
  const results = page && (await locals.site.results(page.paper.id));
  return results
    ? Response.json(resultsDocument(results))
    : refuse(404, page ? "this paper has no results yet" : "there is no such paper");
};
