import { add, cond, data, greaterEqual, matmul, mul, ones, sum, type Tensor } from "@prior-art/tensor";
import { adam, type GradientTransformation, sgd } from "@prior-art/toolkit/optim";
import { expect, test } from "vitest";
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

/** Adam that from step 60 on also multiplies large matrices, to no effect. */
function tired<P>(): GradientTransformation<P, unknown> {
  const { init, update } = adam<P>({ learningRate: 0.1 });
  const work = (start: Tensor): Tensor => {
    let product = mul(start, ones([256, 256]));
    for (let i = 0; i < 8; i++) product = mul(1 / 256, matmul(product, product));
    return sum(product);
  };
  return {
    init: (params) => ({ adam: init(params), step: ones([]), waste: ones([]) }),
    update(gradients, state, params) {
      const {
        adam: memory,
        step,
        waste,
      } = state as {
        adam: ReturnType<typeof init>;
        step: Tensor;
        waste: Tensor;
      };
      const [updates, next] = update(gradients, memory, params);
      const spent = cond(
        greaterEqual(step, 60),
        (s: Tensor) => mul(1e-30, work(s)),
        (s: Tensor) => s,
        waste,
      );
      return [updates, { adam: next, step: add(step, 1), waste: spent }];
    },
  };
}

test("the time of a step is the mean over all of the training, not that of its first steps", async () => {
  const pace = adam({ learningRate: 0.1 });
  const { stepTime } = await finish({ optimizer: tired(), steps: 120, pace });
  expect(stepTime).toBeGreaterThan(4);
  const early = await finish({ optimizer: tired(), steps: 40, pace });
  expect(early.stepTime).toBeLessThan(stepTime / 2);
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
