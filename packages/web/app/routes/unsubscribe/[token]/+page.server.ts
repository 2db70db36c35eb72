import { fail } from "@sveltejs/kit";
import type { Actions } from "./$types";

export const actions: Actions = {
  /** People press the button; mail programs post here by themselves (RFC 8058). */
  default: async ({ params, locals }) => {
    try {
      await locals.site.library.subscriptions.unsubscribe(params.token);
    } catch (problem) {
      const { name, message } = problem as Error;
      if (name !== "InvalidTokenError") throw problem;
      return fail(400, { problem: `${message}.` });
    }
    return { ended: true };
  },
};
