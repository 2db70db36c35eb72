import { file } from "$lib/server/answers";
import { sitemap } from "$service/sitemap.ts";
import type { RequestHandler } from "./$types";

/** Addresses that one sitemap may hold. */
const MOST = 50_000;

export const GET: RequestHandler = async ({ locals }) => {
  const { site } = locals;
  const families = await site.families();
  const paths = [
    "/",
    "/families",
    "/compare",
    "/about",
    ...families.map(({ family }) => `/families/${encodeURIComponent(family)}`),
  ];
  let after: string | undefined;
  do {
    const page = await site.library.papers({}, { limit: 1000, after });
    paths.push(...page.papers.map(({ id }) => `/papers/${encodeURIComponent(id)}`));
    after = page.next;
  } while (after !== undefined && paths.length < MOST);
  return file(sitemap(site.address, paths.slice(0, MOST)), "application/xml; charset=utf-8", {
    seconds: 3600,
  });
};
