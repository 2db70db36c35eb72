import { data, type Tensor } from "@prior-art/tensor";
import { adam, sgd } from "@prior-art/toolkit/optim";
import { afterEach, expect, test, vi } from "vitest";
import { problems } from "./problems.ts";
import { type RaceOptions, type RaceResult, train } from "./race.ts";

const { batchSize, prepare } = problems.regression;

async function finish(options: Pick<RaceOptions, "optimizer" | "steps" | "pace">): Promise<RaceResult> {
  const training = train({ problem: await prepare(0), batchSize, seed: 0, ...options });
  for (;;) {
    const { value, done } = await training.next();
    if (done) return value as RaceResult;
  }
}

const weightsOf = async ({ params }: RaceResult): Promise<number[]> => [
  ...(await data((params as { weights: Tensor }).weights)),
];

/** Milliseconds that each timed run is made to take, one after the other; how many are left. */
function timesOf(milliseconds: readonly number[]): { readonly left: () => number } {
  const rest = [...milliseconds];
  let [now, isRunning] = [0, false];
  vi.spyOn(performance, "now").mockImplementation(() => {
    if (isRunning) now += rest.shift() ?? Number.NaN;
    isRunning = !isRunning;
    return now;
  });
  return { left: () => rest.length };
}

afterEach(() => {
  vi.restoreAllMocks();
});

test("the time of a step is the mean over all stretches of the training, each at its fastest, over that of the pace", async () => {
  const times = timesOf([
    // The first 20 steps, until 15 ms are full; then the pace's.
    ...[8, 6, 7],
    ...[4, 5, 3, 5],
    // The second stretch, without the pace: twice at least, even if it is long.
    ...[60, 30],
    // The last ten steps, five times at most; and the pace's.
    ...[2, 1, 2, 2, 2],
    ...[9, 9],
  ]);
  const { stepTime } = await finish({
    optimizer: sgd({ learningRate: 0.03 }),
    steps: 50,
    pace: adam({ learningRate: 0.1 }),
  });
  expect(times.left()).toBe(0);
  expect(stepTime).toBeCloseTo((6 + 30 + 1) / 3 / ((3 + 9) / 2), 12);
});

test("a training that is timed ends where one that isn't does", async () => {
  const optimizer = sgd({ learningRate: 0.03 });
  const [plain, timed] = [
    await finish({ optimizer, steps: 50 }),
    await finish({ optimizer, steps: 50, pace: adam({ learningRate: 0.1 }) }),
  ];
  expect(await weightsOf(timed)).toEqual(await weightsOf(plain));
  expect(timed.stepTime).toBeGreaterThan(0);
  expect(plain.stepTime).toBeNaN();
});
