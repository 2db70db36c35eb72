import { refuse } from "$lib/server/api";
import { paperDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) => {
  const paper = await locals.site.find(params.id);
  if (!paper) return refuse(404, "there is no such paper");
  const papers = await locals.site.similar(paper.id);
  return Response.json({ papers: papers.map(paperDocument), next: null });
};
