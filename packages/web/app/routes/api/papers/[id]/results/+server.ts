import { refuse } from "$lib/server/api";
import { resultsDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) => {
  const paper = await locals.site.find(params.id);
  const results = paper && (await locals.site.results(paper.id));
  return results
    ? Response.json(resultsDocument(results))
    : refuse(404, paper ? "this paper has no results yet" : "there is no such paper");
};
