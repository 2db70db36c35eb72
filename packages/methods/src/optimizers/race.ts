import { data, jit, mean, random, slice, type Tensor, tensor } from "@prior-art/tensor";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { type AnyOptimizer, shuffledBatches, trainSteps } from "@prior-art/toolkit/optim";
import { mean as average } from "@prior-art/toolkit/stats";
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

/** A chunk that is timed runs at least twice, and up to five times until that has taken so many milliseconds. */
const [FEWEST, MOST, LONG_ENOUGH] = [2, 5, 15];

/** What comes out, and milliseconds of the fastest repetition: other work on the machine only ever adds time. */
async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  let [best, total] = [Number.POSITIVE_INFINITY, 0];
  for (let i = 1; ; i++) {
    const start = performance.now();
    const result = await work();
    const time = performance.now() - start;
    best = Math.min(best, time);
    total += time;
    if (i === MOST || (i >= FEWEST && total >= LONG_ENOUGH)) return [result, best];
  }
}

export interface RaceOptions {
  readonly problem: AnyPrepared;
  readonly optimizer: Optimizer;
  readonly batchSize: number;
  readonly steps: number;
  readonly seed: number;
  /** Another optimizer, to time the steps against; its steps must take equally long wherever they start. */
  readonly pace?: Optimizer;
}

export interface RaceResult {
  readonly params: unknown;
  /** Mean time of a step over that of a step of `pace`, NaN without one. */
  readonly stepTime: number;
}

/**
 * Trains by one optimizer; yields the steps done and the mean loss since the last report.
 *
 * With `pace`, each stretch of the training is run again to be timed, and in turn with it steps of the other optimizer. So
 * the mean is over all of the training, with everything that happens only now and then or takes longer at times, and
 * other work on the machine hits both alike.
 * @throws DivergedError when the loss is no longer finite.
 */
export async function* train({
  problem,
  optimizer,
  batchSize,
  steps,
  seed,
  pace,
}: RaceOptions): AsyncGenerator<{ readonly step: number; readonly loss: number }, RaceResult, void> {
  const run = jit(trainSteps({ ...problem, optimizer }));
  const runPace = pace && jit(trainSteps({ ...problem, optimizer: pace }));
  const paceState = pace?.init(problem.params);
  const order = await batchOrder(seed, steps, problem.examples, batchSize);
  const keys = random.split(random.fold(random.key(seed), 2), steps);
  let { params } = problem;
  let state: unknown = optimizer.init(params);
  const [own, others]: [number[], number[]] = [[], []];
  try {
    for (let from = 0; from < steps; from += CHUNK) {
      const to = Math.min(from + CHUNK, steps);
      const [rows, stepKeys] = [slice(order, [from, to]), slice(keys, [from, to])];
      const [before, memory] = [params, state];
      const stretch = async () => {
        const [after, next, losses] = await run(before, memory, problem.train, rows, stepKeys);
        return { after, next, loss: (await data(mean(losses)))[0]! };
      };
      const paceStretch = async () => {
        const [, , losses] = await runPace!(before, paceState, problem.train, rows, stepKeys);
        await data(mean(losses));
      };
      const [{ after, next, loss }, time] = runPace ? await timed(stretch) : [await stretch(), 0];
      own.push(time);
      // Half of the stretches tell enough about steps that take equally long wherever they start.
      if (runPace && own.length % 2 === 1) others.push((await timed(paceStretch))[1]);
      [params, state] = [after, next];
      if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss} after ${to} steps`);
      yield { step: to, loss };
    }
  } finally {
    await run.release();
    await runPace?.release();
  }
  return { params, stepTime: runPace ? average(own) / average(others) : Number.NaN };
}
