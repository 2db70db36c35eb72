import { error, fail } from "@sveltejs/kit";
import { formOf } from "$lib/formOf";
import { subscriptionFromForm } from "$service/subscriptionForm.ts";
import type { Actions, PageServerLoad } from "./$types";

export const load: PageServerLoad = async ({ params, locals }) => {
  const subscriber = await locals.site.library.subscriptions.manage(params.token).catch((problem: Error) => {
    if (problem.name === "InvalidTokenError") error(400, { message: `${problem.message}.` });
    throw problem;
  });
  if (!subscriber) error(404, { message: "There is no such subscription." });
  const { id: _, ...current } = subscriber;
  const families = (await locals.site.families()).map(({ family }) => family).sort();
  return { current, families };
};

export const actions: Actions = {
  default: async ({ request, params, locals }) => {
    try {
      await locals.site.library.subscriptions.change(
        params.token,
        subscriptionFromForm(await formOf(request)),
      );
    } catch (problem) {
      const { name, message } = problem as Error;
      if (name !== "InvalidTokenError" && name !== "InvalidSubscriptionError") throw problem;
      return fail(400, { problem: message });
    }
    return { changed: true };
  },
};
