import { documentPolicy } from "$service/securityHeaders.ts";

/** A file for programs or readers that is no page of the site. */
export function file(
  body: string | Uint8Array<ArrayBuffer> | undefined,
  type: string,
  { seconds = 60, policy = documentPolicy }: { seconds?: number; policy?: string } = {},
): Response {
  if (body === undefined) return new Response("There is no such file.", { status: 404 });
  return new Response(body, {
    headers: {
      "Content-Type": type,
      "Cache-Control": `public, max-age=${seconds}`,
      "Content-Security-Policy": policy,
    },
  });
}
