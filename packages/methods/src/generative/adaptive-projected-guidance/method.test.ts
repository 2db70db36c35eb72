import {
  add,
  data,
  div,
  max,
  mul,
  random,
  scalar,
  square,
  sub,
  sum,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import {
  classifierFreeGuidance,
  cosineSchedule,
  ddim,
  type Guidance,
  type GuidedStep,
  gaussianMixture,
  levelOf,
  pathOf,
  startingNoise,
} from "@prior-art/toolkit/diffusion";
import { describe, expect, test } from "vitest";
import { adaptiveProjectedGuidance, capNorm, parallelGuidance, project } from "./method.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const largest = async (t: Tensor): Promise<number> => Math.sqrt((await numbers(max(square(t))))[0]!);

/** A step in which the model's two answers are known. */
const stepOf = (conditional: number[], unconditional: number[]): GuidedStep => ({
  x: tensor([conditional]),
  level: levelOf({ signal: 0.6, noise: 0.8 }),
  index: scalar(0, "int32"),
  count: 10,
  key: random.key(0),
  conditional: () => tensor([conditional]),
  unconditional: () => tensor([unconditional]),
});
const guided = async (guidance: Guidance<Tensor>, ...steps: GuidedStep[]): Promise<number[]> => {
  let state = guidance.init(steps[0]!.x);
  let clean = steps[0]!.x;
  for (const step of steps) [clean, state] = guidance.combine(step, state);
  return numbers(clean);
};

describe("parts", () => {
  const update = random.normal(random.key(1), [50, 7]);
  const direction = random.normal(random.key(2), [50, 7]);

  test("parallel and orthogonal add up to the update, and are what they are called", async () => {
    const { parallel, orthogonal } = project(update, direction);
    expect(await largest(sub(add(parallel, orthogonal), update))).toBeLessThan(1e-5);
    expect(await largest(sum(mul(orthogonal, direction), -1))).toBeLessThan(1e-5);
    const ratio = div(parallel, direction);
    const first = mul(ratio, 0);
    expect(await largest(sub(sub(ratio, first), sum(mul(parallel, direction), -1, true)))).toBeGreaterThan(0);
    const twice = project(parallel, direction);
    expect(await largest(twice.orthogonal)).toBeLessThan(1e-5);
  });

  test("by hand: (3, 4) along (2, 0)", async () => {
    const { parallel, orthogonal } = project(tensor([[3, 4]]), tensor([[2, 0]]));
    expect(await numbers(parallel)).toEqual([3, 0]);
    expect(await numbers(orthogonal)).toEqual([0, 4]);
  });

  test("a prediction of zero has nothing parallel to it", async () => {
    expect(await numbers(project(tensor([[3, 4]]), tensor([[0, 0]])).orthogonal)).toEqual([3, 4]);
  });

  test("only updates longer than the radius are shortened, to the radius", async () => {
    const capped = await numbers(
      capNorm(
        tensor([
          [3, 4],
          [0.3, 0.4],
          [0, 0],
        ]),
        2.5,
      ),
    );
    [1.5, 2, 0.3, 0.4, 0, 0].forEach((v, i) => {
      expect(capped[i]).toBeCloseTo(v, 6);
    });
  });
});

describe("guidance", () => {
  const step = stepOf([2, 0, 0], [1, -4, 0]);

  test("η = 0 drops what is parallel to the conditional prediction", async () => {
    // Δ = (1, 4, 0): the first coordinate is parallel.
    expect(await guided(adaptiveProjectedGuidance({ scale: 3 }), step)).toEqual([2, 8, 0]);
  });

  test("η scales the parallel part only", async () => {
    expect(await guided(adaptiveProjectedGuidance({ scale: 3, parallel: 0.5 }), step)).toEqual([3, 8, 0]);
  });

  test("the cap comes before the projection", async () => {
    // ‖Δ‖ = √17 is capped at √17/2.
    const capped = await guided(adaptiveProjectedGuidance({ scale: 3, radius: Math.sqrt(17) / 2 }), step);
    [2, 4, 0].forEach((v, i) => {
      expect(capped[i]).toBeCloseTo(v, 5);
    });
  });

  test("momentum carries the uncapped updates of the steps before", async () => {
    // Δ̄ = Δ₂ + β Δ₁ = (0, 0, 1) − 0.5 (1, 4, 0), and what is parallel to (0, 0, 5) goes. Only ‖Δ₁‖ exceeds the radius.
    const second = stepOf([0, 0, 5], [0, 0, 4]);
    const guidance = adaptiveProjectedGuidance({ scale: 2, radius: 3, momentum: -0.5 });
    expect(await guided(guidance, step, second)).toEqual([-0.5, -2, 5]);
    // A third step remembers the first one with weight β².
    const third = stepOf([0, 0, 5], [0, 0, 5]);
    expect(await guided(guidance, step, second, third)).toEqual([0.25, 1, 5]);
  });

  test("the parallel part alone", async () => {
    const [clean] = parallelGuidance(3).combine(step, null);
    expect(await numbers(clean)).toEqual([4, 0, 0]);
  });
});

test("η = 1 without cap and momentum is classifier-free guidance, scale 1 the conditional model", async () => {
  const mixture = gaussianMixture([
    { mean: [1, 0, 0.5], deviation: 0.3, label: 0 },
    { mean: [-1, 1, 0], deviation: 0.4, label: 1 },
  ]);
  const path = pathOf(cosineSchedule(), 15);
  const problem = {
    denoiser: mixture.denoise,
    path,
    start: startingNoise(random.key(0), [6, 3], path),
    labels: tensor(Int32Array.from([0, 1, 0, 1, 0, 1])),
    key: random.key(1),
  };
  const run = async <S>(guidance: Guidance<S>) => numbers(ddim({ ...problem, guidance }));
  const plain = await run(classifierFreeGuidance(4));
  (await run(adaptiveProjectedGuidance({ scale: 4, parallel: 1 }))).forEach((v, i) => {
    expect(v).toBeCloseTo(plain[i]!, 3);
  });
  const conditional = await run(classifierFreeGuidance(1));
  (await run(adaptiveProjectedGuidance({ scale: 1, radius: 0.1, momentum: -0.75 }))).forEach((v, i) => {
    expect(v).toBeCloseTo(conditional[i]!, 4);
  });
  expect((await run(adaptiveProjectedGuidance({ scale: 4 })))[0]).not.toBeCloseTo(plain[0]!, 2);
});
