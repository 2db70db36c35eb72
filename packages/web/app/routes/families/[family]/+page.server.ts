import { error } from "@sveltejs/kit";
import type { PageServerLoad } from "./$types";

export const load: PageServerLoad = async ({ locals, params }) => {
  const { family } = params;
  const [papers, board] = await Promise.all([
    locals.site.papersOf(family, locals.voter),
    locals.site.leaderboard(family),
  ]);
  if (papers.length === 0) error(404, { message: `There is no family ${family}.` });
  return { family, papers, board: board ?? null };
};
