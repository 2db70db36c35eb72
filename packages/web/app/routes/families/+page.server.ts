import type { PageServerLoad } from "./$types";

export const load: PageServerLoad = async ({ locals }) => ({ families: await locals.site.families() });
