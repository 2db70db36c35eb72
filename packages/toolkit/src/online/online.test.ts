import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gameTree, kuhnPoker, nashConv, realizationPlan, uniformStrategy } from "../games/index.ts";
import { randomStream } from "../stats/index.ts";
import { dilatedEntropyLeader } from "./dilatedEntropy.ts";
import { outcomeSamplingMccfr } from "./outcomeSampling.ts";
import {
  bregmanDivergence,
  entropy,
  euclideanBall,
  euclideanSimplex,
  logBarrier,
  mirrorStep,
  type Regularizer,
  tsallis,
} from "./regularizers.ts";
import { selfPlay } from "./selfPlay.ts";

const close = (values: readonly number[], digits = 6) => values.map((v) => expect.closeTo(v, digits));
const vector = fc.array(fc.double({ min: -20, max: 20, noNaN: true }), { minLength: 2, maxLength: 6 });
const simplexRegularizers: readonly Regularizer[] = [
  entropy,
  logBarrier,
  tsallis(),
  tsallis(0.7),
  euclideanSimplex,
];
const objective = (r: Regularizer, loss: Float64Array, x: Float64Array): number =>
  r.value(x) + x.reduce((sum, xi, i) => sum + xi * loss[i]!, 0);

describe("regularizers", () => {
  test("the log barrier has the known leaders", () => {
    expect([...logBarrier.minimize(Float64Array.of(0.5, 1, 2))]).toEqual(
      close([0.408013, 0.33888, 0.253107]),
    );
    expect([...logBarrier.minimize(Float64Array.of(0, -0.9, 0.6, 0.3))]).toEqual(
      close([0.244736, 0.313869, 0.2134, 0.227996]),
    );
  });

  test("entropy gives exponential weights, also for huge losses", () => {
    expect([...entropy.minimize(Float64Array.of(Math.log(3) + 5000, 5000))]).toEqual(close([0.25, 0.75]));
  });

  test("the Euclidean projections", () => {
    expect([...euclideanSimplex.minimize(Float64Array.of(-0.9, -0.5, 1))]).toEqual(close([0.7, 0.3, 0]));
    expect([...euclideanBall(1).minimize(Float64Array.of(-3, 4))]).toEqual(close([0.6, -0.8]));
    expect([...euclideanBall().minimize(Float64Array.of(-3, 4))]).toEqual([3, -4]);
  });

  test.each(simplexRegularizers)("$name: the minimum is on the simplex, shift-free and not beaten", (r) => {
    fc.assert(
      fc.property(vector, vector, (losses, other) => {
        const loss = Float64Array.from(losses);
        const x = r.minimize(loss);
        expect(x.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
        expect([...r.minimize(loss.map((l) => l + 3))]).toEqual(close([...x], 7));
        const rival = entropy.minimize(loss.map((_, i) => other[i % other.length]! / 10));
        expect(objective(r, loss, x)).toBeLessThanOrEqual(objective(r, loss, rival) + 1e-7);
      }),
    );
  });

  test.each(simplexRegularizers)("$name: two mirror steps inside are one leader step", (r) => {
    const start = r.minimize(new Float64Array(3));
    const [g, h] = [Float64Array.of(0.1, -0.2, 0.05), Float64Array.of(0, 0.1, -0.1)];
    const twice = mirrorStep(r, mirrorStep(r, start, g, 0.5), h, 0.5);
    expect([...twice]).toEqual(close([...r.minimize(g.map((gi, i) => 0.5 * (gi + h[i]!)))]));
    expect(bregmanDivergence(r, twice, start)).toBeGreaterThan(0);
    expect(bregmanDivergence(r, start, start)).toBeCloseTo(0, 12);
  });

  test("refuses powers outside (0, 1)", () => {
    expect(() => tsallis(1)).toThrow(RangeError);
  });
});

test("no strategy beats the leader under dilated entropy", () => {
  const form = gameTree(kuhnPoker()).forms[0];
  const random = randomStream(3);
  const prior = uniformStrategy(form);
  const rates = Float64Array.from(form.infosets, () => 0.5 + random.uniform());
  const loss = Float64Array.from({ length: form.sequences }, () => random.uniform());
  const cost = (strategy: Float64Array): number => {
    const plan = realizationPlan(form, strategy);
    let total = plan.reduce((sum, p, s) => sum + p * loss[s]!, 0);
    form.infosets.forEach(({ first, actions, parent }, x) => {
      for (let s = first; s < first + actions.length; s++)
        total += (plan[parent]! / rates[x]!) * strategy[s]! * Math.log(strategy[s]! / prior[s]!);
    });
    return total;
  };
  const leader = dilatedEntropyLeader(form, loss, rates, prior);
  for (let trial = 0; trial < 200; trial++) {
    const rival = leader.slice();
    for (const { first } of form.infosets) {
      const p = Math.min(0.999, Math.max(0.001, rival[first]! + 0.2 * (random.uniform() - 0.5)));
      rival.set([p, 1 - p], first);
    }
    expect(cost(rival)).toBeGreaterThan(cost(leader));
  }
});

test("outcome-sampling MCCFR approaches an equilibrium of Kuhn poker", () => {
  const tree = gameTree(kuhnPoker());
  const learner = (player: 0 | 1) => outcomeSamplingMccfr({ player, exploration: 0.4 });
  const run = () => [
    ...selfPlay(tree, [learner(0), learner(1)], { checkpoints: [1000, 60_000], random: randomStream(1) }),
  ];
  const points = run();
  expect(points.map(({ episode }) => episode)).toEqual([1000, 60_000]);
  expect(points[1]!.nashConv).toBeLessThan(0.1);
  expect(points[1]!.nashConv).toBe(nashConv(tree, points[1]!.profile));
  expect(run()[1]!.nashConv).toBe(points[1]!.nashConv);
});
