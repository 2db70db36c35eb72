import { data, random } from "@prior-art/tensor";
import { expect, test } from "vitest";
import { excessLosses, model, sources, texts } from "./shiftedTexts.ts";

test("the new domain is the old one with two cycles of letters in what follows", () => {
  const { old, new: shifted } = sources;
  const [before, after] = [old, shifted].map(({ transitions }) => transitions.subarray(370, 380)) as [
    Float64Array,
    Float64Array,
  ];
  expect([...after]).toEqual([1, 2, 0, 4, 5, 3, 6, 7, 8, 9].map((i) => before[i]));
  expect(old.order).toBe(2);
});

test("texts start with their domain's tag, and count from the third letter on", async () => {
  const { tokens, mask } = texts("new", 2, 5, "test");
  const [t, m] = [await data(tokens), await data(mask)];
  expect([t[0], t[16]]).toEqual([11, 11]);
  expect(Math.max(...t.subarray(1, 16))).toBeLessThan(10);
  expect([...m.subarray(0, 16)]).toEqual([0, 0, 0, ...new Array(13).fill(1)]);
  expect(await data(texts("new", 2, 5, "test").tokens)).toEqual(t);
  expect(await data(texts("new", 2, 5, "other").tokens)).not.toEqual(t);
});

test("a model that knows nothing is log(vocabulary) minus the entropy off in both domains", async () => {
  const losses = await excessLosses(model.init(random.key(0)), { count: 50, seed: 1, stream: "test" });
  for (const domain of ["old", "new"] as const)
    expect(Math.abs(losses[domain] - (Math.log(12) - sources[domain].entropyRate))).toBeLessThan(0.05);
});
