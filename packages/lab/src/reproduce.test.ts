import type { AnyExperiment, PretrainedModel } from "@prior-art/toolkit/experiment";
import { describe, expect, test } from "vitest";
import failing from "./fixtures/failing.ts";
import slow from "./fixtures/slow.ts";
import toy from "./fixtures/toy.ts";
import { byProblem, leaderboard } from "./leaderboard.ts";
import { inMemory, inThread } from "./local.ts";
import { type LabEvent, type ReproduceOptions, reproduce } from "./reproduce.ts";
import { decode, encode, resultsSchema } from "./results.ts";
import { chooseHyperparameters, tuningUnits } from "./tuning.ts";
import { firstTuningSeed, type UnitResult, unitId } from "./units.ts";

function options(experiment: AnyExperiment, change: Partial<ReproduceOptions> = {}): ReproduceOptions {
  return {
    slug: "toy",
    experiment,
    mode: "full",
    executor: inThread(experiment),
    store: inMemory(),
    environment: { machine: { cpu: "any", cores: 1, memoryGiB: 1, platform: "any" }, versions: {} },
    codeVersion: "1",
    ...change,
  };
}

describe("reproduce", () => {
  test("tunes every arm, tests on other seeds and judges each claim", async () => {
    const results = await reproduce(options(toy));
    const verdicts = Object.fromEntries(results.claims.map(({ id, verdict }) => [id, verdict]));
    expect(verdicts).toEqual({
      faster: "reproduced",
      slower: "not reproduced",
      reckless: "partly",
      cubic: "reproduced",
      descends: "reproduced",
    });
    expect(results.verdict).toBe("partly");
    expect(results.arms.find(({ name }) => name === "momentum")!.hyperparameters).toEqual({
      stepSize: 0.1,
      momentum: 0.5,
    });
    expect(results.seeds).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test("shared models are trained before the first unit, and only when they are not stored", async () => {
    const log: string[] = [];
    const model = (name: string, stored: boolean): PretrainedModel => ({
      name,
      id: async () => name,
      isStored: async () => stored,
      load: async () => log.push(`${name} trained`),
    });
    const checkpoints = [model("classifier", false), model("denoiser", true)];
    const experiment = { ...(toy as AnyExperiment), checkpoints };
    const onEvent = (event: LabEvent) => {
      if (event.type === "pretraining") log.push(event.name);
      if (event.type === "unit" && event.done === 1) log.push("first unit");
    };
    await reproduce(options(experiment, { mode: "quick", onEvent }));
    expect(log).toEqual(["classifier", "classifier trained", "first unit"]);
  });

  test("diverged units are listed with their settings and never averaged in", async () => {
    const results = await reproduce(options(toy));
    const diverged = results.units.filter((unit) => unit.status === "diverged");
    expect(diverged.map(({ arm, seed }) => [arm, seed])).toEqual(
      [1, 3, 5, 7].map((seed) => ["reckless", seed]),
    );
    expect(diverged[0]).toMatchObject({
      hyperparameters: { stepSize: 0.01 },
      reason: expect.stringMatching(/left the plot at step 1/),
    });
    const claim = results.claims.find(({ id }) => id === "reckless")!;
    expect(claim.perSeed.map(({ seed }) => seed)).toEqual([0, 2, 4, 6]);
    expect(claim.diverged.map(({ seed }) => seed)).toEqual([1, 3, 5, 7]);
    expect(Number.isFinite(claim.effect)).toBe(true);
  });

  test("a candidate that blows up is recorded as diverged and never chosen", async () => {
    const { tuning } = await reproduce(options(toy));
    const reckless = tuning.filter(({ hyperparameters }) => hyperparameters.stepSize === 5);
    expect(reckless).toHaveLength(2);
    for (const candidate of reckless) expect(candidate).toMatchObject({ score: null, chosen: false });
    expect(tuning.filter(({ chosen }) => chosen).map(({ arm }) => arm)).toEqual(["momentum", "plain"]);
    for (const { seeds } of tuning) expect(Math.min(...seeds)).toBeGreaterThanOrEqual(firstTuningSeed);
  });

  test("stored units are not run again, and more seeds only add their own", async () => {
    const store = inMemory();
    const events: LabEvent[] = [];
    const onEvent = (event: LabEvent) => events.push(event);
    const first = await reproduce(options(toy, { store, seeds: 2 }));
    const second = await reproduce(options(toy, { store, seeds: 3, onEvent }));
    const ran = events.flatMap((event) => (event.type === "unit" && !event.stored ? [event.result] : []));
    expect(ran.map(({ phase, seed }) => [phase, seed])).toEqual(Array(3).fill(["test", 2]));
    expect(second.units.slice(0, 6)).toEqual(first.units);
  });

  test("progress counts every unit once and carries live metrics", async () => {
    const events: LabEvent[] = [];
    await reproduce(options(toy, { mode: "quick", onEvent: (event) => events.push(event) }));
    const planned = events.find((event) => event.type === "planned")!;
    const units = events.filter((event) => event.type === "unit");
    expect(units.map(({ done }) => done)).toEqual(Array.from({ length: planned.units }, (_, i) => i + 1));
    const progress = events.find((event) => event.type === "progress")!;
    expect(progress.progress).toMatchObject({ step: 1, of: 20, metrics: { loss: expect.any(Number) } });
  });

  test("a unit that throws stops the run with its arm, seed and settings; finished units stay", async () => {
    const store = inMemory();
    await expect(reproduce(options(failing, { store }))).rejects.toThrow(
      "only, seed 1, width=4: shapes [3] and [4] do not match",
    );
    const finished = unitId({
      mode: "full",
      phase: "test",
      arm: "only",
      seed: 0,
      hyperparameters: { width: 4 },
    });
    expect(await store.load(finished)).toMatchObject({ status: "finished", metrics: { loss: 0 } });
  });

  test("cancelling stops at the next yield and stores nothing of the unit", async () => {
    const cancel = new AbortController();
    const store = inMemory();
    const onEvent = (event: LabEvent) => event.type === "progress" && cancel.abort(new Error("enough"));
    const run = reproduce(options(slow, { mode: "quick", store, signal: cancel.signal, onEvent }));
    await expect(run).rejects.toThrow("enough");
    const unit = unitId({ mode: "quick", phase: "test", arm: "only", seed: 0, hyperparameters: {} });
    expect(await store.load(unit)).toBeUndefined();
  });

  test("a run that returns something other than numbers is refused by name", async () => {
    const odd = {
      ...slow,
      async *run() {
        yield { step: 1, of: 1 };
        return { curve: ["high"] };
      },
    } as unknown as AnyExperiment;
    await expect(reproduce(options(odd))).rejects.toThrow(/metric curve\[0\] is not a number/);
  });
});

describe("leaderboard", () => {
  test("ranks arms by their mean over finished seeds and counts the diverged ones", async () => {
    const rows = leaderboard(toy, await reproduce(options(toy)));
    expect(rows.map(({ arm }) => arm)[0]).toBe("momentum");
    expect(rows.map(({ mean }) => mean)).toEqual(rows.map(({ mean }) => mean).sort((a, b) => a - b));
    expect(rows.find(({ arm }) => arm === "reckless")).toMatchObject({ seeds: 4, diverged: 4 });
  });

  test("an arm that diverged on every seed comes last", async () => {
    const results = await reproduce(options(toy));
    for (const unit of results.units) if (unit.arm === "momentum") unit.status = "diverged";
    const last = leaderboard(toy, results).at(-1)!;
    expect(last).toMatchObject({ arm: "momentum", seeds: 0, diverged: 8, mean: Number.NaN });
  });

  test("needs a metric", async () => {
    const results = await reproduce(options(slow, { mode: "full", seeds: 1 }));
    expect(() => leaderboard(slow, results)).toThrow(/no leaderboard metric/);
  });
});

describe("tuning", () => {
  const arm = (space: object) =>
    ({
      ...toy,
      arms: { a: { label: "A", space } },
      tuning: { ...toy.tuning!, seeds: { full: 2, quick: 1 } },
    }) as unknown as AnyExperiment;

  test("draws from a grid larger than the budget without repeats, and gives every arm the same budget", () => {
    const space = { x: [1, 2, 3, 4], y: [1, 2, 3] };
    const units = tuningUnits(arm(space), "full");
    expect(units).toHaveLength(4 * 2);
    expect(new Set(units.map((unit) => JSON.stringify(unit.hyperparameters))).size).toBe(4);
    expect(tuningUnits(arm(space), "full")).toEqual(units);
  });

  test("samples ranges on their scale", () => {
    const units = tuningUnits(
      arm({ rate: { min: 1e-5, max: 1 }, shift: { min: -1, max: 1, scale: "linear" } }),
      "full",
    );
    for (const { hyperparameters } of units) {
      expect(hyperparameters.rate).toBeGreaterThanOrEqual(1e-5);
      expect(hyperparameters.rate).toBeLessThanOrEqual(1);
      expect(Math.abs(hyperparameters.shift as number)).toBeLessThanOrEqual(1);
    }
  });

  test("a tuning metric that is no number is named", async () => {
    const experiment = { ...toy, tuning: { ...toy.tuning!, metric: "cubes" } } as unknown as AnyExperiment;
    await expect(reproduce(options(experiment))).rejects.toThrow(
      /tuning metric "cubes" of arm "momentum" is not a number/,
    );
  });

  test("scores are means over the tuning seeds, and maximize turns the choice", () => {
    const experiment = {
      ...arm({ x: [1, 2] }),
      tuning: { ...toy.tuning!, goal: "maximize" },
    } as unknown as AnyExperiment;
    const result = (x: number, seed: number, loss: number): UnitResult => ({
      mode: "full",
      phase: "tune",
      arm: "a",
      seed,
      hyperparameters: { x },
      status: "finished",
      metrics: { loss },
      seconds: 0,
    });
    const { chosen, tried } = chooseHyperparameters(experiment, [
      result(1, 0, 1),
      result(1, 1, 5),
      result(2, 0, 2),
      result(2, 1, 2),
    ]);
    expect(tried.map(({ score }) => score)).toEqual([3, 2]);
    expect(chosen).toEqual({ a: { x: 1 } });
  });
});

describe("results", () => {
  test("survive JSON, unbounded intervals and NaN included", async () => {
    const results = await reproduce(options(toy, { seeds: 1 }));
    expect(results.claims[0]!.interval).toEqual({ low: -Infinity, high: Infinity });
    expect(decode(resultsSchema, encode(resultsSchema, results))).toEqual(results);
  });

  test("what is not a result is refused with the field's name", async () => {
    const results = await reproduce(options(toy, { mode: "quick" }));
    const damaged = JSON.parse(encode(resultsSchema, results));
    damaged.claims[0].verdict = "probably";
    expect(() => decode(resultsSchema, JSON.stringify(damaged))).toThrow(/claims\.0\.verdict/);
    expect(() => decode(resultsSchema, "{")).toThrow(/not JSON/);
    expect(() => encode(resultsSchema, damaged)).toThrow(/claims\.0\.verdict/);
  });
});

describe("a leaderboard of several problems", () => {
  test("ranks within each problem and shows the other metrics", async () => {
    const { momentum, reckless, ...rest } = toy.arms as Record<string, { readonly label: string }>;
    const several = {
      ...toy,
      arms: {
        momentum: { ...momentum, problem: "first" },
        reckless: { ...reckless, problem: "second" },
        ...Object.fromEntries(
          Object.entries(rest).map(([name, arm]) => [name, { ...arm, problem: "second" }]),
        ),
      },
      claims: [],
      leaderboard: { ...toy.leaderboard!, also: ["loss"] },
    } as unknown as AnyExperiment;
    const results = await reproduce(options(several));
    expect(decode(resultsSchema, encode(resultsSchema, results)).arms[0]!.problem).toBe("first");
    const boards = byProblem(leaderboard(several, results));
    expect(boards.map(({ problem }) => problem)).toEqual(["first", "second"]);
    expect(boards[0]!.rows.map(({ arm }) => arm)).toEqual(["momentum"]);
    for (const { rows } of boards)
      for (const row of rows) expect(row.also).toEqual({ loss: { mean: row.mean, interval: row.interval } });
  });
});
