import { redirect } from "@sveltejs/kit";
import { formOf } from "$lib/formOf";
import { localPath } from "$lib/localPath";
import type { RequestHandler } from "./$types";

const YEAR = 365 * 86_400;

/** Keeps the visitor's choice of colours and leads back. */
export const POST: RequestHandler = async ({ request, cookies, url }) => {
  const form = await formOf(request);
  const theme = form.get("theme");
  if (theme === "light" || theme === "dark" || theme === "auto")
    cookies.set("theme", theme, {
      path: "/",
      maxAge: YEAR,
      sameSite: "lax",
      httpOnly: true,
      secure: url.protocol === "https:",
    });
  redirect(303, localPath(form.get("back")));
};
