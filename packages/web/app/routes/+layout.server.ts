import type { LayoutServerLoad } from "./$types";

export const load: LayoutServerLoad = ({ locals, url }) => ({
  theme: locals.theme,
  address: locals.site.address,
  path: url.pathname + url.search,
});
