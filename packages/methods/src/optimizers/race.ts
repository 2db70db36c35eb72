import { data, jit, mean, random, slice, type Tensor, tensor } from "@prior-art/tensor";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { type AnyOptimizer, adam, shuffledBatches, trainSteps } from "@prior-art/toolkit/optim";
import type { Prepared } from "./problems.ts";

// biome-ignore lint/suspicious/noExplicitAny: each problem and each optimizer has a type of its own
type Optimizer = AnyOptimizer<any, any>;
// biome-ignore lint/suspicious/noExplicitAny: likewise
type AnyPrepared = Prepared<any, any>;

/** Steps in one run of the compiled loop. */
const CHUNK = 20;

/** Batches of `steps` steps, epoch after epoch, each in an order of its own: int32 `[steps, batch]`. */
async function batchOrder(seed: number, steps: number, examples: number, batchSize: number): Promise<Tensor> {
  const perEpoch = Math.floor(examples / batchSize);
  const rows: number[] = [];
  for (let epoch = 0; rows.length < steps * batchSize; epoch++) {
    const key = random.fold(random.fold(random.key(seed), 1), epoch);
    rows.push(...(await data(shuffledBatches(key, examples, batchSize))).slice(0, perEpoch * batchSize));
  }
  return tensor(Int32Array.from(rows.slice(0, steps * batchSize)), { shape: [steps, batchSize] });
}

export interface RaceOptions {
  readonly problem: AnyPrepared;
  readonly optimizer: Optimizer;
  readonly batchSize: number;
  readonly steps: number;
  readonly seed: number;
}

/**
 * Trains by one optimizer; yields the steps done and the mean loss since the last report, returns the parameters.
 * @throws DivergedError when the loss is no longer finite.
 */
export async function* train({
  problem,
  optimizer,
  batchSize,
  steps,
  seed,
}: RaceOptions): AsyncGenerator<{ readonly step: number; readonly loss: number }, unknown, void> {
  const run = jit(trainSteps({ ...problem, optimizer }));
  const order = await batchOrder(seed, steps, problem.examples, batchSize);
  const keys = random.split(random.fold(random.key(seed), 2), steps);
  let { params } = problem;
  let state: unknown = optimizer.init(params);
  try {
    for (let from = 0; from < steps; from += CHUNK) {
      const to = Math.min(from + CHUNK, steps);
      const [after, next, losses] = await run(
        params,
        state,
        problem.train,
        slice(order, [from, to]),
        slice(keys, [from, to]),
      );
      [params, state] = [after, next];
      const loss = (await data(mean(losses)))[0]!;
      if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss} after ${to} steps`);
      yield { step: to, loss };
    }
  } finally {
    await run.release();
  }
  return params;
}

/** Repetitions that the fastest is taken of: other work on the machine only ever adds time. */
const REPETITIONS = 5;

/** How many times as long as a step of Adam a step of `optimizer` takes on this machine, measured in turns. */
export async function relativeStepTime({
  problem,
  optimizer,
  batchSize,
  seed,
}: RaceOptions): Promise<number> {
  const order = await batchOrder(seed, CHUNK, problem.examples, batchSize);
  const keys = random.split(random.key(seed), CHUNK);
  const timed = [optimizer, adam({ learningRate: 1e-3 })].map((contestant: Optimizer) => {
    const run = jit(trainSteps({ ...problem, optimizer: contestant }));
    const state = contestant.init(problem.params);
    return {
      release: () => run.release(),
      async seconds(): Promise<number> {
        const start = performance.now();
        const [, , losses] = await run(problem.params, state, problem.train, order, keys);
        await data(losses);
        return performance.now() - start;
      },
    };
  });
  try {
    const best = timed.map(() => Number.POSITIVE_INFINITY);
    for (let round = 0; round <= REPETITIONS; round++)
      for (const [i, { seconds }] of timed.entries()) {
        const taken = await seconds();
        // The first round compiles.
        if (round > 0) best[i] = Math.min(best[i]!, taken);
      }
    return best[0]! / best[1]!;
  } finally {
    for (const { release } of timed) await release();
  }
}
