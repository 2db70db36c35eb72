import { readPage, refuse } from "$lib/server/api";
import { searchDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, url }) => {
  const request = readPage(url.searchParams, 10);
  if (request instanceof Response) return request;
  const { limit, after, filters } = request;
  const query = url.searchParams.get("q") ?? "";
  try {
    return Response.json(searchDocument(await locals.site.search({ query, limit, after, ...filters })));
  } catch (problem) {
    const { name, message } = problem as Error;
    if (name === "InvalidSearchError") return refuse(400, message);
    throw problem;
  }
};
