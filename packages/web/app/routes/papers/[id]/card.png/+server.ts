import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = async ({ locals, params, setHeaders }) => {
  // Other sites show it.
  setHeaders({ "Cross-Origin-Resource-Policy": "cross-origin" });
  const card = await locals.site.card(params.id);
  return file(card && new Uint8Array(card), "image/png", { seconds: 3600 });
};
