import { refuse } from "$lib/server/api";
import { paperDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) => {
  const page = await locals.site.paper(params.id);
  if (!page) return refuse(404, "there is no such paper");
  const papers = await locals.site.library.similar(page.paper.id, 6);
  return Response.json({ papers: papers.map(paperDocument), next: null });
};
