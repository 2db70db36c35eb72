import { readPage, refuse } from "$lib/server/api";
import { paperDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

const WINDOWS = ["day", "week", "month"] as const;

export const GET: RequestHandler = async ({ locals, url }) => {
  const request = readPage(url.searchParams, 20);
  if (request instanceof Response) return request;
  const asked = url.searchParams.get("window") ?? "week";
  const window = WINDOWS.find((name) => name === asked);
  if (!window) return refuse(400, "window must be day, week or month");
  const { limit, filters } = request;
  const trending = await locals.site.trendingPapers(window, filters.family, limit);
  return Response.json({ papers: trending.map(paperDocument), next: null });
};
