/** A path of this site as it was given, or `/` when it leads anywhere else. */
export function localPath(value: unknown): string {
  if (typeof value !== "string" || !value.startsWith("/")) return "/";
  const base = "http://here.invalid";
  // The browser's own reading of the address decides, so that `//host`, `/\host` and the like do not lead away.
  if (!URL.canParse(value, base)) return "/";
  const url = new URL(value, base);
  return url.origin === base ? url.pathname + url.search : "/";
}
