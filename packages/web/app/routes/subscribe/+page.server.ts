import { fail } from "@sveltejs/kit";
import { formOf } from "$lib/formOf";
import { subscriptionFromForm } from "$service/subscriptionForm.ts";
import type { Actions, PageServerLoad } from "./$types";

export const load: PageServerLoad = async ({ locals }) => ({
  families: (await locals.site.families()).map(({ family }) => family).sort(),
});

export const actions: Actions = {
  default: async ({ request, locals }) => {
    const wish = subscriptionFromForm(await formOf(request));
    try {
      await locals.site.subscribe(wish);
    } catch (problem) {
      const { name, message } = problem as Error;
      if (name !== "InvalidSubscriptionError") throw problem;
      return fail(400, { problem: message, email: String(wish.email ?? "").slice(0, 254) });
    }
    return { sent: true };
  },
};
