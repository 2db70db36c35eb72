import { callerOf, type RateLimit, rateLimiter } from "./rateLimit.ts";

/** What the guard looks at. */
export interface GuardedRequest {
  readonly method: string;
  readonly path: string;
  /** The caller's network address. */
  readonly address: string;
  readonly headers: Headers;
}

/** Why a request is refused. */
export interface Refusal {
  readonly status: 403 | 429;
  readonly reason: string;
  /** Seconds to wait, for status 429. */
  readonly retryAfter?: number;
}

/** Reading is cheap, searching costs some milliseconds, and what changes something is rare for a person. */
const LIMITS: Readonly<Record<"read" | "search" | "change" | "subscribe", RateLimit>> = {
  read: { burst: 300, perSecond: 50 },
  search: { burst: 60, perSecond: 10 },
  change: { burst: 30, perSecond: 0.5 },
  subscribe: { burst: 5, perSecond: 1 / 120 },
};

export type RateLimits = typeof LIMITS;

/**
 * Refuses what comes too fast from one address, and what another site makes a visitor's browser send.
 *
 * Mail programs unsubscribe with a request of their own (RFC 8058) that has no origin; its token is its proof.
 */
export function requestGuard(
  limits: RateLimits = LIMITS,
): (request: GuardedRequest, now?: number) => Refusal | undefined {
  const limiters = {
    read: rateLimiter(limits.read),
    search: rateLimiter(limits.search),
    change: rateLimiter(limits.change),
    subscribe: rateLimiter(limits.subscribe),
  };
  return ({ method, path, address, headers }, now) => {
    const safe = method === "GET" || method === "HEAD" || method === "OPTIONS";
    if (!safe && !path.startsWith("/unsubscribe/") && isForeign(headers))
      return { status: 403, reason: "This request came from another site." };
    const retryAfter = limiters[kindOf(safe, path)].take(callerOf(address), now);
    if (retryAfter === 0) return undefined;
    return { status: 429, reason: "Too many requests; wait a moment.", retryAfter: Math.ceil(retryAfter) };
  };
}

function kindOf(safe: boolean, path: string): keyof RateLimits {
  if (!safe) return path === "/subscribe" ? "subscribe" : "change";
  return /^\/(api\/)?search(\/|$)/.test(path) ? "search" : "read";
}

/** Browsers say where a request comes from; programs that say nothing carry no visitor's cookies. */
function isForeign(headers: Headers): boolean {
  const fetchSite = headers.get("sec-fetch-site");
  if (fetchSite !== null) return fetchSite !== "same-origin" && fetchSite !== "none";
  const origin = headers.get("origin");
  if (origin === null) return false;
  return !URL.canParse(origin) || new URL(origin).host !== headers.get("host");
}
