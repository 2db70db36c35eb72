import { readFilters } from "$lib/filters";
import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

/** A saved search: its papers, those that came last first. */
export const GET: RequestHandler = async ({ locals, url }) => {
  const { site } = locals;
  const query = url.searchParams.get("q") ?? "";
  const found = await site
    .search({ query, limit: 50, ...readFilters(url.searchParams) })
    .catch((problem: Error) => {
      if (problem.name === "InvalidSearchError") return undefined;
      throw problem;
    });
  if (!found) return new Response("The feed of a search needs its question as q.", { status: 400 });
  const papers = found.hits
    .map(({ paper }) => paper)
    .sort((a, b) => b.addedAt.getTime() - a.addedAt.getTime());
  const feed = site.feed({
    title: `Prior Art: ${query}`,
    page: `/search${url.search}`,
    self: `/search/feed.xml${url.search}`,
    papers,
  });
  return file(feed, "application/atom+xml; charset=utf-8", { seconds: 300 });
};
