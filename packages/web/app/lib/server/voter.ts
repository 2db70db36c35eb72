import type { RequestEvent } from "@sveltejs/kit";

const TWO_YEARS = 2 * 365 * 86_400;

export interface Vote {
  readonly votes: number;
  readonly own: boolean;
}

/** Does something to a paper for the visitor; answers with its votes, or `undefined` when there is no such paper. */
export async function actOnPaper(
  event: RequestEvent<{ id: string }>,
  act: (id: string, voter: string) => Promise<unknown>,
): Promise<Vote | undefined> {
  const { site } = event.locals;
  const paper = await site.find(event.params.id);
  if (!paper) return undefined;
  const voter = voterOf(event);
  await act(paper.id, voter);
  return site.votes(paper.id, voter);
}

/** The visitor's anonymous voter token; a new one is kept in a cookie that scripts cannot read. */
function voterOf({ locals, cookies, url }: RequestEvent): string {
  const voter = locals.site.voter(locals.voter);
  if (voter !== locals.voter)
    cookies.set("voter", voter, {
      path: "/",
      maxAge: TWO_YEARS,
      sameSite: "lax",
      httpOnly: true,
      secure: url.protocol === "https:",
    });
  return voter;
}
