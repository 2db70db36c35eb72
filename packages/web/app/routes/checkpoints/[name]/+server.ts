import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

/** A pretrained model that this machine has, so that pages need not train it; its name is a digest of its recipe. */
export const GET: RequestHandler = async ({ locals, params }) =>
  file(await locals.site.checkpoint(params.name), "application/octet-stream", { seconds: 86_400 });
