import { operations } from "$service/api/operations.ts";
import type { PageServerLoad } from "./$types";

export const load: PageServerLoad = () => ({
  operations: operations.map(({ method, path, summary, parameters }) => ({
    method: method.toUpperCase(),
    path,
    summary,
    parameters: parameters.map(({ name, description, required = false }) => ({
      name,
      description,
      required,
    })),
  })),
});
