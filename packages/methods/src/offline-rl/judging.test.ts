import { clip, concat, mul, slice, sub, type Tensor, zeros } from "@prior-art/tensor";
import { type OfflineAgent, offlineData } from "@prior-art/toolkit/rl";
import { expect, test } from "vitest";
import { judgeOf, shareOutside } from "./judging.ts";

/** An agent that has nothing to learn. */
const fixed = (policy: (observations: Tensor) => Tensor): OfflineAgent<null> => ({
  init: () => null,
  update: (state) => [state, zeros([])],
  policy: () => policy,
});
/** The controller that made the expert's data. */
const expert = fixed((o) =>
  clip(sub(mul(-4, slice(o, null, [0, 2])), mul(2.5, slice(o, null, [2, 4]))), -1, 1),
);
const idle = fixed((o) => mul(0, slice(o, null, [0, 2])));

test("the expert scores about 100, doing nothing is in between", async () => {
  const judge = judgeOf("point-mass", expert, 0);
  expect(Math.abs((await judge.score(null)) - 100)).toBeLessThan(8);
  await judge.release();
  const other = judgeOf("point-mass", idle, 0);
  expect(await other.score(null)).toBeLessThan(30);
  await other.release();
});

test("the expert stays inside the support of its own data and of mixed ones, not of mediocre ones", async () => {
  const share = async (agent: OfflineAgent<null>, quality: "medium" | "mixed" | "expert") => {
    const { transitions } = offlineData({ task: "point-mass", quality, episodes: 5, seed: 1 });
    return shareOutside(agent, null, transitions, ["point-mass", quality]);
  };
  expect(await share(expert, "expert")).toBe(0);
  expect(await share(expert, "mixed")).toBe(0);
  expect(await share(expert, "medium")).toBeGreaterThan(0.5);
  // Far from the middle both controllers push.
  expect(
    await share(
      fixed((o) => concat([slice(o, null, [0, 1]), slice(o, null, [0, 1])], -1)),
      "expert",
    ),
  ).toBeGreaterThan(0.1);
});
