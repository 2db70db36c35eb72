import type { PageServerLoad } from "./$types";

const WINDOWS = ["day", "week", "month"] as const;

export const load: PageServerLoad = async ({ locals, url }) => {
  const window = WINDOWS.find((name) => name === url.searchParams.get("window")) ?? "week";
  const [papers, families] = await Promise.all([
    locals.site.trending(window, locals.voter),
    locals.site.families(),
  ]);
  return { window, papers, families };
};
