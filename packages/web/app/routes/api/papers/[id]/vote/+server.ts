import type { RequestEvent } from "@sveltejs/kit";
import { refuse } from "$lib/server/api";
import { actOnPaper } from "$lib/server/voter";
import type { RequestHandler } from "./$types";

type Act = Parameters<typeof actOnPaper>[1];

async function onPaper(event: RequestEvent<{ id: string }>, act: Act): Promise<Response> {
  const vote = await actOnPaper(event, act);
  return vote ? Response.json(vote) : refuse(404, "there is no such paper");
}

export const GET: RequestHandler = async ({ locals, params }) => {
  const paper = await locals.site.find(params.id);
  if (!paper) return refuse(404, "there is no such paper");
  return Response.json(await locals.site.votes(paper.id, locals.voter));
};

export const POST: RequestHandler = (event) =>
  onPaper(event, (id, voter) => event.locals.site.library.votes.vote(id, voter));

export const DELETE: RequestHandler = (event) =>
  onPaper(event, (id, voter) => event.locals.site.library.votes.withdraw(id, voter));
