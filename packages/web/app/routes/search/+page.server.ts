import type { SearchPage } from "@prior-art/library";
import { error } from "@sveltejs/kit";
import { readFilters } from "$lib/filters";
import { summaryOf } from "$service/summary.ts";
import type { PageServerLoad } from "./$types";

const PAGE = 20;

export const load: PageServerLoad = async ({ locals, url }) => {
  const query = (url.searchParams.get("q") ?? "").trim();
  const filters = readFilters(url.searchParams);
  const families = (await locals.site.families()).map(({ family }) => family).sort();
  if (query === "") return { query, filters, families, found: null };
  const after = url.searchParams.get("after") ?? undefined;
  const page: SearchPage = await locals.site
    .search({ query, limit: PAGE, after, ...filters })
    .catch((problem: Error) => {
      if (problem.name === "InvalidSearchError") error(400, { message: `${problem.message}.` });
      throw problem;
    });
  return {
    query,
    filters,
    families,
    found: {
      total: page.total,
      next: page.next ?? null,
      continued: after !== undefined,
      corrections: page.corrections,
      hits: page.hits.map(({ paper, title, snippet }) => ({ paper: summaryOf(paper), title, snippet })),
    },
  };
};
