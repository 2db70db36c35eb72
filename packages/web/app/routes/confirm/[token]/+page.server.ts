import { fail } from "@sveltejs/kit";
import type { Actions } from "./$types";

export const actions: Actions = {
  default: async ({ params, locals }) => {
    try {
      const subscriber = await locals.site.library.subscriptions.confirm(params.token);
      if (subscriber?.state !== "active") return fail(400, { problem: "This subscription has ended." });
    } catch (problem) {
      const { name, message } = problem as Error;
      if (name !== "InvalidTokenError") throw problem;
      return fail(400, { problem: `${message}. Subscribe again to get a new one.` });
    }
    return { confirmed: true };
  },
};
