const OWN_URL = import.meta.url;
const HERE = OWN_URL.slice(0, OWN_URL.lastIndexOf("/") + 1);
const HERE_PATH = decodeURIComponent(HERE.replace(/^file:\/\//, ""));

/** The first stack frame outside this package, as `file:line:column`, or undefined where the runtime hides it. */
export function callSite(stack = new Error().stack ?? ""): string | undefined {
  for (const line of stack.split("\n").slice(1)) {
    const place = /\(?((?:file:\/\/|https?:\/\/|\/|[A-Za-z]:\\)[^()]*:\d+:\d+)\)?$/.exec(line.trim())?.[1];
    if (place === undefined || place.includes("node:internal")) continue;
    const ours = place.startsWith(HERE) || place.startsWith(HERE_PATH);
    if (!ours || place.includes(".test."))
      return place.replace(/^file:\/\//, "").replace(/\?[^:]*(?=:\d+:\d+$)/, "");
  }
  return undefined;
}

/** A misuse of the engine: names the operation, what is wrong, and the caller's own source line. */
export class TensorError extends Error {
  override readonly name = "TensorError";
  /** `file:line:column` of the caller, where known. */
  readonly site: string | undefined;
  constructor(
    readonly op: string,
    readonly problem: string,
    site: string | undefined = callSite(),
  ) {
    super(`${op}: ${problem}${site ? `\n    at ${site}` : ""}`);
    this.site = site;
  }
}
