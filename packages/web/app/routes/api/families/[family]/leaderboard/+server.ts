import { refuse } from "$lib/server/api";
import { leaderboardDocument } from "$service/api/documents.ts";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) => {
  const board = await locals.site.leaderboard(params.family);
  return board ? Response.json(leaderboardDocument(board)) : refuse(404, "there is no such leaderboard yet");
};
