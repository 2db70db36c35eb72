import type { RequestEvent } from "@sveltejs/kit";

const TWO_YEARS = 2 * 365 * 86_400;

/** The visitor's anonymous voter token; a new one is kept in a cookie that scripts cannot read. */
export function voterOf({ locals, cookies, url }: RequestEvent): string {
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
