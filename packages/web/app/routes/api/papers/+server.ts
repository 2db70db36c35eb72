import { readPage } from "$lib/server/api";
import { paperDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, url }) => {
  const request = readPage(url.searchParams, 50);
  if (request instanceof Response) return request;
  const { limit, after, filters } = request;
  const page = await locals.site.library.papers(filters, { limit, after });
  return Response.json({ papers: page.papers.map(paperDocument), next: page.next ?? null });
};
