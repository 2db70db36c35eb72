import { file } from "$lib/server/answers";
import { atomFeed } from "$service/feeds.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals }) => {
  const { site } = locals;
  const papers = (await site.library.trending({ window: "week", limit: 50 })).map(({ paper }) => paper);
  const feed = atomFeed({
    title: "Prior Art: trending this week",
    site: site.address,
    page: "/",
    self: "/feed.xml",
    papers,
  });
  return file(feed, "application/atom+xml; charset=utf-8", { seconds: 300 });
};
