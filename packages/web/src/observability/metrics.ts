import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** The kinds of recurring work and how much of it waits. */
export type QueueDepths = () => Promise<Readonly<Record<string, number>>>;

/** What the site counts, in Prometheus's form. */
export interface Metrics {
  /** A request was answered. */
  request(facts: {
    readonly method: string;
    readonly route: string;
    readonly status: number;
    readonly seconds: number;
  }): void;
  /** A recurring job ended. */
  job(job: string, outcome: "finished" | "failed"): void;
  /** Letters of a digest run by what became of them. */
  digests(outcome: "sent" | "failed", count: number): void;
  /** Papers that a poll of the sources brought. */
  synced(outcome: "added" | "updated" | "skipped", count: number): void;
  /** Asked at every scrape. */
  watchQueues(depths: QueueDepths): void;
  readonly contentType: string;
  text(): Promise<string>;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Response times of pages lie between a cached page and the longest search. */
const BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const requests = new Counter({
    name: "prior_art_http_requests_total",
    help: "Requests answered",
    labelNames: ["method", "route", "status"],
    registers,
  });
  const duration = new Histogram({
    name: "prior_art_http_request_duration_seconds",
    help: "Time from a request's arrival to the end of its answer",
    labelNames: ["route"],
    buckets: BUCKETS,
    registers,
  });
  const jobs = new Counter({
    name: "prior_art_jobs_total",
    help: "Recurring jobs that ended",
    labelNames: ["job", "outcome"],
    registers,
  });
  const letters = new Counter({
    name: "prior_art_digests_total",
    help: "Digest letters",
    labelNames: ["outcome"],
    registers,
  });
  const papers = new Counter({
    name: "prior_art_synced_papers_total",
    help: "Papers from polled sources",
    labelNames: ["outcome"],
    registers,
  });
  let depths: QueueDepths | undefined;
  new Gauge({
    name: "prior_art_jobs_waiting",
    help: "Recurring jobs that wait in the queue",
    labelNames: ["job"],
    registers,
    async collect() {
      for (const [job, count] of Object.entries((await depths?.().catch(() => undefined)) ?? {}))
        this.set({ job }, count);
    },
  });
  return {
    request({ method, route, status, seconds }) {
      requests.inc({ method: METHODS.has(method) ? method : "other", route, status: String(status) });
      duration.observe({ route }, seconds);
    },
    job: (job, outcome) => jobs.inc({ job, outcome }),
    digests: (outcome, count) => letters.inc({ outcome }, count),
    synced: (outcome, count) => papers.inc({ outcome }, count),
    watchQueues(ask) {
      depths = ask;
    },
    contentType: registry.contentType,
    text: () => registry.metrics(),
  };
}
