import { escapeHtml } from "@prior-art/lab";
import type { Paper } from "@prior-art/library";
import { Feed } from "feed";

export interface FeedContent {
  readonly title: string;
  /** Address of the site without a slash at the end. */
  readonly site: string;
  /** Path of the page that shows the same papers. */
  readonly page: string;
  /** Path of the feed itself. */
  readonly self: string;
  readonly papers: readonly Paper[];
}

/**
 * An Atom feed of papers. The feed library says that titles and summaries are HTML, so they are escaped here; everything
 * else it escapes itself.
 */
export function atomFeed({ title, site, page, self, papers }: FeedContent): string {
  const updated = papers.reduce((latest, { addedAt }) => (addedAt > latest ? addedAt : latest), new Date(0));
  const feed = new Feed({
    title,
    id: `${site}${self}`,
    link: `${site}${page}`,
    feedLinks: { atom: `${site}${self}` },
    updated,
    copyright: "",
    generator: "Prior Art",
  });
  for (const paper of papers) {
    const address = `${site}/papers/${encodeURIComponent(paper.id)}`;
    feed.addItem({
      title: escapeHtml(paper.title),
      id: address,
      link: address,
      date: paper.addedAt,
      ...(paper.publishedAt ? { published: paper.publishedAt } : {}),
      description: escapeHtml(paper.summary),
      author: paper.authors.map((name) => ({ name })),
      category: [paper.family, ...paper.keywords].filter((name) => name !== null).map((name) => ({ name })),
    });
  }
  return feed.atom1();
}
