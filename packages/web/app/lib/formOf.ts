import { error } from "@sveltejs/kit";

/** The form that a request brings. Throws status 400 when its body is none. */
export async function formOf(request: Request): Promise<FormData> {
  try {
    return await request.formData();
  } catch (cause) {
    // A body that is too large has its own status.
    if ((cause as { status?: number }).status === 413) throw cause;
    error(400, { message: "The request brings no form that can be read." });
  }
}
