import { expect, test } from "vitest";
import { gradientlessDescent } from "./baselines.ts";
import experiment from "./experiment.ts";
import { testFunction } from "./problems.ts";

/** log₁₀ f after the queries of the full setting. */
async function finalLog(radii: number, size: number): Promise<number> {
  const problem = testFunction("ill", 100, 1_000_000);
  for await (const { x, queries } of gradientlessDescent(radii)(problem, size))
    if (queries >= experiment.settings.full.queries) return Math.log10(problem.f(x));
  throw new Error("the method ended");
}

test("gradientless descent is not starved: more radii make it worse", async () => {
  expect(await finalLog(6, 0.435)).toBeLessThan(await finalLog(10, 0.435));
});
