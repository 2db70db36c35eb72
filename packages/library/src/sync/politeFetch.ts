/** A response that can be used; `body` is undefined when the document has not changed. */
export interface PoliteResponse {
  readonly body: Uint8Array | undefined;
  readonly etag: string | null;
  readonly lastModified: string | null;
}

/** Why a server did not give the document, and how long it asked to be left alone. The message is one line. */
export class FetchFailedError extends Error {
  override readonly name = "FetchFailedError";
  /** Seconds to wait before asking again, when the server said so. */
  readonly retryAfter: number | undefined;

  constructor(message: string, retryAfter?: number) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

export interface PoliteFetchOptions {
  readonly etag?: string | null;
  readonly lastModified?: string | null;
  /** Longest time for the whole response, in milliseconds. */
  readonly timeout?: number;
  /** Largest body, in bytes. */
  readonly largest?: number;
}

const USER_AGENT = "prior-art/0.1 (self-hosted research library)";
const MOST_REDIRECTS = 3;
const TIMEOUT = 60_000;
const LARGEST_BODY = 64 * 1024 * 1024;

/**
 * Gets a document over HTTP. Redirects are followed on the same host only, so a source can neither send the library
 * to machines inside the reader's network nor to a host that nobody configured.
 *
 * @throws FetchFailedError for every kind of failure
 */
export async function politeFetch(
  address: string,
  options: PoliteFetchOptions = {},
): Promise<PoliteResponse> {
  const signal = AbortSignal.timeout(options.timeout ?? TIMEOUT);
  try {
    return await follow(new URL(address), options, signal);
  } catch (error) {
    if (error instanceof FetchFailedError) throw error;
    if (signal.aborted) throw new FetchFailedError(`${new URL(address).host} took too long to answer`);
    const cause = (error as { cause?: { code?: string; message?: string } }).cause;
    throw new FetchFailedError(
      `${new URL(address).host} did not answer properly (${cause?.code ?? cause?.message ?? "connection lost"})`,
    );
  }
}

async function follow(start: URL, options: PoliteFetchOptions, signal: AbortSignal): Promise<PoliteResponse> {
  let address = start;
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    if (!/^https?:$/u.test(address.protocol))
      throw new FetchFailedError(`${address.protocol} is not fetched`);
    const response = await fetch(address, { redirect: "manual", signal, headers: requestHeaders(options) });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || response.status === 304 || location === null)
      return read(response, address, options);
    await response.body?.cancel();
    const target = new URL(location, address);
    if (target.host !== start.host || (start.protocol === "https:" && target.protocol !== "https:"))
      throw new FetchFailedError(`${start.host} redirects to ${target.host}, which is not configured`);
    address = target;
  }
  throw new FetchFailedError(`${start.host} redirects more than ${MOST_REDIRECTS} times`);
}

function requestHeaders({ etag, lastModified }: PoliteFetchOptions): Record<string, string> {
  return {
    "user-agent": USER_AGENT,
    ...(etag ? { "if-none-match": etag } : {}),
    ...(lastModified ? { "if-modified-since": lastModified } : {}),
  };
}

async function read(response: Response, { host }: URL, options: PoliteFetchOptions): Promise<PoliteResponse> {
  const etag = response.headers.get("etag");
  const lastModified = response.headers.get("last-modified");
  if (response.status === 304)
    return { body: undefined, etag: etag ?? options.etag ?? null, lastModified: lastModified ?? null };
  if (!response.ok) {
    await response.body?.cancel();
    throw new FetchFailedError(`${host} answered ${response.status}`, retryAfter(response));
  }
  return { body: await readBody(response, host, options.largest ?? LARGEST_BODY), etag, lastModified };
}

async function readBody(response: Response, host: string, largest: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > largest) throw new FetchFailedError(`${host} sent more than ${largest} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const LONGEST_WAIT = 86_400;

function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after");
  if (value === null) return undefined;
  const seconds = /^\d+$/u.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(LONGEST_WAIT, Math.max(0, seconds)) : undefined;
}
