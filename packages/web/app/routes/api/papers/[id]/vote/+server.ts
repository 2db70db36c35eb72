import type { RequestEvent } from "@sveltejs/kit";
import { refuse } from "$lib/server/api";
import { voterOf } from "$lib/server/voter";
import type { RequestHandler } from "./$types";

type Act = (id: string, voter: string) => Promise<unknown>;

/** Does something to the paper for the caller and answers with its votes. */
async function onPaper(event: RequestEvent<{ id: string }>, act: Act): Promise<Response> {
  const { site } = event.locals;
  const page = await site.paper(event.params.id);
  if (!page) return refuse(404, "there is no such paper");
  const { id } = page.paper;
  const voter = voterOf(event);
  await act(id, voter);
  return Response.json(await site.votes(id, voter));
}

export const GET: RequestHandler = async ({ locals, params }) => {
  const page = await locals.site.paper(params.id);
  if (!page) return refuse(404, "there is no such paper");
  return Response.json(await locals.site.votes(page.paper.id, locals.voter));
};

export const POST: RequestHandler = (event) =>
  onPaper(event, (id, voter) => event.locals.site.library.votes.vote(id, voter));

export const DELETE: RequestHandler = (event) =>
  onPaper(event, (id, voter) => event.locals.site.library.votes.withdraw(id, voter));
