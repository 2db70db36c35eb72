import type { PageServerLoad } from "./$types";

const MOST = 4;

export const load: PageServerLoad = async ({ locals, url }) => {
  const { site } = locals;
  const wanted = url.searchParams
    .getAll("papers")
    .flatMap((value) => value.split(","))
    .map((id) => id.trim())
    .filter(Boolean)
    .slice(0, MOST);
  const pages = await Promise.all([...new Set(wanted)].map((id) => site.paper(id)));
  const families = (await site.families()).filter(({ hasTask }) => hasTask);
  const options = (await site.library.papers({}, { limit: 1000 })).papers
    .filter(({ hasMethod }) => hasMethod)
    .map(({ id, title }) => ({ id, title }));
  return {
    families,
    options,
    wanted,
    papers: pages.flatMap((page) =>
      page
        ? [
            {
              paper: page.paper,
              standing: page.standing,
              claims: page.claims,
              seconds: page.reproduction?.seconds ?? null,
              importLine: page.code?.importLine ?? null,
            },
          ]
        : [],
    ),
  };
};
