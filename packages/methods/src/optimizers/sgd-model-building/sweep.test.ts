import { expect, test } from "vitest";
import { ADAM_RATES, RATES } from "./sweep.ts";

test("all arms choose among as many rates, and SGD's best, 0.1 to 1, has no gaps wider than half", () => {
  expect(ADAM_RATES).toHaveLength(RATES.length);
  const near = RATES.filter((rate) => rate >= 0.06 && rate <= 2);
  near.slice(1).forEach((rate, i) => {
    expect(rate / near[i]!).toBeLessThan(1.7);
  });
});
