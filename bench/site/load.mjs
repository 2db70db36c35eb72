import { Agent, request } from "node:http";

/** Loopback addresses that visitors come from, so that limits for one address count as they would. */
const VISITORS = 40;

/**
 * Sends GET requests at a steady rate, whether or not earlier ones were answered.
 *
 * A latency counts from the moment the request was due, so that a server that stalls cannot hide it.
 *
 * @returns for each request its path, status (0 when the connection failed) and latency in milliseconds
 */
export async function load({ address, rate, seconds, pathOf }) {
  const agents = Array.from(
    { length: VISITORS },
    (_, i) => new Agent({ keepAlive: true, maxSockets: 50, localAddress: `127.0.0.${i + 1}` }),
  );
  const count = Math.round(rate * seconds);
  const started = performance.now();
  const answers = [];
  for (let i = 0; i < count; i++) {
    const due = started + (1000 * i) / rate;
    const wait = due - performance.now();
    if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
    answers.push(get(address + pathOf(i), agents[i % VISITORS], due));
  }
  const results = await Promise.all(answers);
  for (const agent of agents) agent.destroy();
  return results;
}

function get(url, agent, due) {
  return new Promise((resolve) => {
    const done = (status) => resolve({ url, status, latency: performance.now() - due });
    const sent = request(url, { agent, headers: { "accept-encoding": "gzip" } }, (response) => {
      response.resume();
      response.on("end", () => done(response.statusCode));
      response.on("error", () => done(0));
    });
    sent.on("error", () => done(0));
    sent.setTimeout(30_000, () => sent.destroy());
    sent.end();
  });
}
