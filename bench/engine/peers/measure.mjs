/**
 * What the JavaScript peers share: the time each case gets, random data, and the loop that times the networks. Each
 * peer is run as `node PEER SECONDS` and prints one JSON document.
 */

const seconds = Number(process.argv[2] ?? 1);

/** How many minibatches a network is trained on, in turn. */
export const STEPS = 16;

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** The median milliseconds of `f(i)`, after calls that compile and warm up. */
async function timed(f) {
  for (let i = 0; i < 5; i++) await f(i);
  const times = [];
  const start = performance.now();
  while (performance.now() - start < seconds * 1e3 || times.length < 10) {
    const before = performance.now();
    await f(times.length);
    times.push(performance.now() - before);
  }
  return median(times);
}

/** A seeded generator of numbers in [0, 1). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const uniform = generator(1);

export const size = (shape) => shape.reduce((product, n) => product * n, 1);

export const normals = (shape, scale = 1) =>
  Float32Array.from(
    { length: size(shape) },
    () => scale * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );

export const integers = (shape, limit) =>
  Int32Array.from({ length: size(shape) }, () => Math.floor(limit * uniform()));

/** Minibatches of random features with random classes. */
export const classBatches = (batch, shape, classes) =>
  Array.from({ length: STEPS }, () => ({ x: normals([batch, ...shape]), y: integers([batch], classes) }));

/** Minibatches of token sequences; the target of each position is the next token. */
export const tokenBatches = (batch, context, vocabulary) =>
  Array.from({ length: STEPS }, () => {
    const x = integers([batch, context], vocabulary);
    const y = x.map((_, i) => x[i - (i % context) + (((i % context) + 1) % context)]);
    return { x, y };
  });

/**
 * Times each network's `train(i)`, a step on batch `i` that resolves to its loss, and its `infer(i)`. A network whose
 * library fails on it, or whose loss does not fall, is left out with a notice.
 */
export async function measure(name, networks) {
  const results = {};
  const notices = [];
  for (const [network, make] of Object.entries(networks)) {
    try {
      const { train, infer, dispose } = await make();
      const first = await train(0);
      const trained = await timed((i) => train(i % STEPS));
      const last = await train(0);
      if (!(last < first)) throw new Error(`its loss goes from ${first} to ${last}`);
      results[network] = { train: trained, inference: await timed((i) => infer(i % STEPS)) };
      await dispose?.();
    } catch (error) {
      notices.push(`${network}: left out: ${error.message.split("\n")[0]}`);
    }
  }
  process.stdout.write(JSON.stringify({ name, results, notices }));
}
