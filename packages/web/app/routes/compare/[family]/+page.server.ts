import { error } from "@sveltejs/kit";
import type { PageServerLoad } from "./$types";

export const load: PageServerLoad = async ({ locals, params }) => {
  const { family } = params;
  const [board, run] = await Promise.all([
    locals.site.leaderboard(family),
    locals.site.runOf(family, "family"),
  ]);
  if (!run) error(404, { message: `The family ${family} has no shared task.` });
  return { family, board: board ?? null, run };
};
