import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals }) => {
  const { site } = locals;
  const papers = await site.trendingPapers("week", undefined, 50);
  const feed = site.feed({
    title: "Prior Art: trending this week",
    page: "/",
    self: "/feed.xml",
    papers,
  });
  return file(feed, "application/atom+xml; charset=utf-8", { seconds: 300 });
};
