/** Answers whether a caller may go on; each call that may counts. */
export interface RateLimiter {
  /** Seconds until the caller may try again; 0 when it may go on now. */
  take(caller: string, now?: number): number;
}

export interface RateLimit {
  /** Calls that may come at once. */
  readonly burst: number;
  /** Calls a second in the long run. */
  readonly perSecond: number;
}

/** Callers remembered at most; beyond that those that have been quiet longest are forgotten. */
const MOST_CALLERS = 50_000;

/**
 * A token bucket for each caller, in this process's memory.
 *
 * @throws RangeError unless both numbers of the limit are positive.
 */
export function rateLimiter({ burst, perSecond }: RateLimit): RateLimiter {
  if (!(burst >= 1 && perSecond > 0)) throw new RangeError("rateLimiter: needs burst ≥ 1 and perSecond > 0");
  const buckets = new Map<string, { tokens: number; at: number }>();
  return {
    take(caller, now = performance.now()) {
      const bucket = buckets.get(caller);
      const tokens = bucket
        ? Math.min(burst, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * perSecond)
        : burst;
      // Taken out and put back, so that the map is in the order of the last calls.
      buckets.delete(caller);
      const allowed = tokens >= 1;
      buckets.set(caller, { tokens: allowed ? tokens - 1 : tokens, at: now });
      if (buckets.size > MOST_CALLERS) buckets.delete(buckets.keys().next().value!);
      return allowed ? 0 : (1 - tokens) / perSecond;
    },
  };
}

/** The network that an address belongs to: an IPv6 host has 2^64 addresses of its own, so those count as one caller. */
export function callerOf(address: string): string {
  if (!address.includes(":")) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped) return mapped[1]!;
  const [head = "", tail] = address.toLowerCase().split("%")[0]!.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail ? tail.split(":") : [];
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...new Array<string>(zeros).fill("0"), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}
