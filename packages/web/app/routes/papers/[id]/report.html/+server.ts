import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) =>
  file(await locals.site.report(params.id), "text/html; charset=utf-8");
