/** What a subscriber wants to read about; empty lists everywhere mean everything. */
export interface Interests {
  /** Words that a paper's title, keywords or summary contains. */
  readonly topics: readonly string[];
  readonly families: readonly string[];
  /** Searches whose results count as interesting. */
  readonly searches: readonly string[];
}

/** When and how a digest reaches somebody. */
export interface Schedule {
  readonly frequency: "daily" | "weekly";
  /** ISO weekday of a weekly digest, 1 Monday to 7 Sunday. */
  readonly weekday: number;
  /** Local hour from which it may go out, 0–23. */
  readonly hour: number;
  /** IANA name such as `Europe/Berlin`. */
  readonly timeZone: string;
}

export interface Subscriber extends Schedule {
  readonly id: string;
  readonly email: string;
  readonly state: "pending" | "active" | "suspended" | "unsubscribed";
  readonly interests: Interests;
}
