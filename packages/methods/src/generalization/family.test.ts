import { describe, expect, test } from "vitest";
import { doubleDescent, quadraticStability } from "./classics.ts";
import { type Phenomenon, type Prediction, relativeError } from "./family.ts";

async function predictions(phenomenon: Phenomenon, seed: number): Promise<readonly Prediction[]> {
  const observation = phenomenon.observe({ seed, brief: true });
  let turn = await observation.next();
  while (!turn.done) turn = await observation.next();
  return turn.value;
}

test("the relative error is the distance in units of the prediction", () => {
  expect(relativeError({ quantity: "x", predicted: -2, measured: -3 })).toBe(0.5);
  expect(() => relativeError({ quantity: "x", predicted: 0, measured: 1 })).toThrow(/"x" is 0/);
});

describe("classic laws", () => {
  test("descent on a quadratic diverges where it should, whatever the seed", async () => {
    for (const seed of [1_000_000, 1_000_001]) {
      const [prediction] = await predictions(quadraticStability, seed);
      expect(relativeError(prediction!)).toBeLessThan(0.02);
    }
  });

  test("least squares have their risk on both sides of interpolation", async () => {
    const all = await predictions(doubleDescent, 1_000_000);
    expect(all.map(({ predicted }) => predicted)).toEqual([0.25 / 3, 0.25, 1, 1 / 3 + 0.5, 2 / 3 + 0.125].map((v) => expect.closeTo(v, 10))); // biome-ignore format: one claim
    for (const prediction of all) expect(relativeError(prediction)).toBeLessThan(0.6);
  });
});
