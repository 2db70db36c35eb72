import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

const MOST = 50;

/** The papers of a family, those that came last first. */
export const GET: RequestHandler = async ({ locals, params }) => {
  const { site } = locals;
  const { family } = params;
  const papers = await site.newestOf(family, MOST);
  if (papers.length === 0) return file(undefined, "text/plain");
  const page = `/families/${encodeURIComponent(family)}`;
  const feed = site.feed({
    title: `Prior Art: ${family}`,
    page,
    self: `${page}/feed.xml`,
    papers,
  });
  return file(feed, "application/atom+xml; charset=utf-8", { seconds: 300 });
};
