import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params }) =>
  file(await locals.site.figure(params.id), "image/svg+xml");
