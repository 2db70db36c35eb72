import type { Handle, HandleServerError } from "@sveltejs/kit";
import { pageCache } from "$service/pageCache.ts";
import { requestGuard } from "$service/requestGuard.ts";

const guard = requestGuard();
const pages = pageCache();
const THEMES = ["light", "dark", "auto"] as const;

export const handle: Handle = async ({ event, resolve }) => {
  const { request, url, cookies, locals, platform } = event;
  const refusal = guard({
    method: request.method,
    path: url.pathname,
    address: event.getClientAddress(),
    headers: request.headers,
  });
  if (refusal) {
    const { status, reason, retryAfter } = refusal;
    const headers = retryAfter === undefined ? undefined : { "Retry-After": String(retryAfter) };
    return url.pathname.startsWith("/api/")
      ? Response.json({ error: reason }, { status, headers })
      : new Response(reason, { status, headers });
  }
  if (!platform?.req.site) throw new Error("the site's server hands over no site");
  locals.site = platform.req.site;
  locals.voter = cookies.get("voter");
  locals.theme = THEMES.find((theme) => theme === cookies.get("theme")) ?? "auto";
  return pages.answer(request, async () =>
    resolve(event, {
      transformPageChunk: ({ html }) => html.replace("%theme%", locals.theme),
      preload: ({ type }) => type === "js" || type === "css",
    }),
  );
};

export const handleError: HandleServerError = ({ error, event, status, message }) => {
  if (status === 404) return { message: "There is no such page here." };
  if (status < 500) return { message };
  const { requestId: id = "", log } = event.platform?.req ?? {};
  log?.error(`${event.request.method} ${event.route.id}: ${(error as Error).stack ?? error}`, {
    requestId: id,
  });
  return { message: "The page could not be made. Please try again.", id };
};
