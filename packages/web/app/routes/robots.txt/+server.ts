import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

export const GET: RequestHandler = ({ locals }) =>
  file(
    [
      "User-agent: *",
      "Disallow: /api/",
      "Disallow: /search",
      "Disallow: /confirm/",
      "Disallow: /subscription/",
      "Disallow: /unsubscribe/",
      `Sitemap: ${locals.site.address}/sitemap.xml`,
      "",
    ].join("\n"),
    "text/plain; charset=utf-8",
    { seconds: 86_400 },
  );
