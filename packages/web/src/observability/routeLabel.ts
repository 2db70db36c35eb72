/** First segments of the site's addresses; anything else is counted as one. */
const AREAS = new Set([
  "_app",
  "about",
  "checkpoints",
  "compare",
  "confirm",
  "families",
  "feed.xml",
  "healthz",
  "metrics",
  "opensearch.xml",
  "papers",
  "readyz",
  "robots.txt",
  "search",
  "sitemap.xml",
  "subscribe",
  "subscription",
  "theme",
  "unsubscribe",
]);
const API_AREAS = new Set(["families", "openapi.json", "papers", "search", "trending"]);

/**
 * What kind of page an address is, for logs and metrics: few kinds, and nothing of what a visitor typed or of a token,
 * which is part of some addresses.
 */
export function routeLabel(url: string): string {
  const [first = "", second = "", ...rest] = url.split(/[?#]/, 1)[0]!.split("/").slice(1);
  if (first === "") return "/";
  if (first === "api") {
    if (second === "") return "/api";
    return API_AREAS.has(second) ? `/api/${second}${rest.length > 0 ? "/…" : ""}` : "other";
  }
  if (!AREAS.has(first)) return "other";
  return second === "" ? `/${first}` : `/${first}/…`;
}
