import { error, type RequestEvent, redirect } from "@sveltejs/kit";
import { actOnPaper } from "$lib/server/voter";
import { summaryOf } from "$service/summary.ts";
import type { Actions, PageServerLoad } from "./$types";

export const load: PageServerLoad = async ({ locals, params }) => {
  const { site, voter } = locals;
  const page = await site.paper(params.id);
  if (!page) error(404, { message: `There is no paper ${params.id.slice(0, 100)}.` });
  const { id } = page.paper;
  if (id !== params.id) redirect(301, `/papers/${encodeURIComponent(id)}`);
  const [similar, vote, run] = await Promise.all([site.similar(id), site.votes(id, voter), site.runOf(id)]);
  return { ...page, similar: similar.map(summaryOf), vote, run: run ?? null };
};

type Act = Parameters<typeof actOnPaper>[1];

const onPaper = async (event: RequestEvent<{ id: string }>, act: Act) => {
  const vote = await actOnPaper(event, act);
  if (!vote) error(404, { message: "There is no such paper." });
  return { vote };
};

export const actions: Actions = {
  vote: (event) => onPaper(event, (id, voter) => event.locals.site.library.votes.vote(id, voter)),
  withdraw: (event) => onPaper(event, (id, voter) => event.locals.site.library.votes.withdraw(id, voter)),
  ran: (event) => onPaper(event, (id, voter) => event.locals.site.library.votes.recordRun(id, voter)),
};
