import { escapeHtml } from "@prior-art/lab";

/** A sitemap of these paths. */
export function sitemap(site: string, paths: readonly string[]): string {
  const urls = paths.map((path) => `<url><loc>${escapeHtml(site + path)}</loc></url>`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
${urls.join("\n")}
</urlset>
`;
}
