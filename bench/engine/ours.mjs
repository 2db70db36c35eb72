import * as t from "@prior-art/tensor";
import { adam, flat } from "@prior-art/toolkit/optim";
import { networks } from "./networks.mjs";

/** Times training steps (Adam, inside `scan`) and inference of the networks; prints JSON. */
const threads = Number(process.argv[2]);
const seconds = Number(process.argv[3]);

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

async function timed(f, per = 1) {
  const times = [];
  const start = performance.now();
  while (performance.now() - start < seconds * 1e3 || times.length < 5) {
    const before = performance.now();
    await f();
    times.push((performance.now() - before) / per);
  }
  return median(times);
}

const results = {};
for (const [name, network] of Object.entries(networks)) {
  let params = await t.evaluate(network.init(t.random.key(0)));
  const batches = await t.evaluate(network.batches(t.random.key(1)));
  const optimizer = flat(adam({ learningRate: 1e-3 }));
  const valueAndGrad = t.valueAndGrad(network.loss);
  const train = t.jit(
    (start, state, stack) =>
      t.scan(
        ([p, s], batch) => {
          const [loss, gradient] = valueAndGrad(p, batch);
          const [updates, next] = optimizer.update(gradient, s, p);
          return [[t.treeMap(t.add, p, updates), next], loss];
        },
        [start, state],
        stack,
      ),
    { threads },
  );
  let state = optimizer.init(params);
  const before = performance.now();
  await train(params, state, batches);
  const compile = performance.now() - before;
  const step = async () => {
    [[params, state]] = await train(params, state, batches);
  };
  const trained = await timed(step, network.steps);

  const forward = t.jit(network.forward, { threads });
  const inputs = await t.evaluate(t.slice(batches.x, 0));
  await forward(params, inputs);
  const inference = await timed(() => forward(params, inputs));
  results[name] = { train: trained, inference, compile };
  await train.release();
  await forward.release();
}
process.stdout.write(JSON.stringify({ name: "Prior Art", threads, results }));
