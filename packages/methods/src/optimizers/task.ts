import {
  type ArmSpec,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { adam, cosineDecay, momentum, sgd } from "@prior-art/toolkit/optim";
import { contenders } from "./contenders.generated.ts";
import type { Contender, Hyperparameters, ProblemName } from "./family.ts";
import { problems } from "./problems.ts";
import { type RaceOptions, type RaceResult, train } from "./race.ts";
import { adamRates, finer, sgdRates } from "./rates.ts";

const adamEntry: Contender = {
  label: "Adam",
  space: { learningRate: adamRates, decay: [0.95, 0.999] },
  optimizer: ({ learningRate = 1e-3, decay = 0.999 }, { steps }) =>
    adam({ learningRate: cosineDecay(learningRate, steps), betas: [0.9, decay] }),
};

const entries: Readonly<Record<string, Contender>> = {
  sgd: {
    label: "SGD",
    space: { learningRate: finer(sgdRates) },
    optimizer: ({ learningRate = 0.1 }, { steps }) => sgd({ learningRate: cosineDecay(learningRate, steps) }),
  },
  momentum: {
    label: "SGD with momentum",
    space: { learningRate: sgdRates, decay: [0.9, 0.98] },
    optimizer: ({ learningRate = 0.01, decay = 0.9 }, { steps }) =>
      momentum({ learningRate: cosineDecay(learningRate, steps), decay }),
  },
  adam: adamEntry,
  ...contenders,
};

const problemNames = Object.keys(problems) as ProblemName[];

export interface Entry {
  readonly contender: Contender;
  readonly problem: ProblemName;
}

/** Every contender on every problem that it can enter, by the arm's name. */
export const race: Readonly<Record<string, Entry>> = Object.fromEntries(
  problemNames.flatMap((problem) =>
    Object.entries(entries)
      .filter(([, { problems: only }]) => only?.includes(problem) ?? true)
      .map(([name, contender]) => [`${problem}-${name}`, { contender, problem }] as const),
  ),
);

const arms: Readonly<Record<string, ArmSpec>> = Object.fromEntries(
  Object.entries(race).map(
    ([
      arm,
      {
        contender: { label, space, fixed },
        problem,
      },
    ]) => [
      arm,
      { label, problem: problems[problem].label, ...(space && { space }), ...(fixed && { fixed }) },
    ],
  ),
);

interface Settings {
  /** Share of each problem's steps. */
  readonly share: number;
}

type Metrics = {
  /** On held-out examples that are tuned on: nats, or half squared errors. */
  readonly validationLoss: number;
  readonly testLoss: number;
  /**
   * Test loss of a training of as many steps as fit into the time of Adam's, its schedule shortened or stretched to them.
   * Hyperparameters are those tuned for equal steps. The same as `testLoss` for Adam itself, and while tuning.
   */
  readonly testLossAtEqualTime: number;
  /** Mean time of a step over all of the training, over that of a step of Adam; 1 for Adam itself, and while tuning. */
  readonly stepTime: number;
};

async function* run({
  arm,
  seed,
  phase,
  settings: { share },
  hyperparameters,
}: RunContext<string, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { contender, problem: name } = race[arm]!;
  const { batchSize, steps: fullSteps, prepare } = problems[name];
  const problem = await prepare(seed);
  const steps = Math.round(share * fullSteps);
  const training = async function* (
    budget: number,
    pace: Pick<RaceOptions, "pace">,
    progress: (step: number) => Pick<Progress, "step" | "of">,
  ) {
    const optimizer = await contender.optimizer(hyperparameters as Hyperparameters, { steps: budget });
    const loop = train({ problem, optimizer, batchSize, steps: budget, seed, ...pace });
    for (;;) {
      const { value, done } = await loop.next();
      if (done) {
        const { params, stepTime } = value as RaceResult;
        return { ...(await problem.score(params)), stepTime };
      }
      const { step, loss } = value as { step: number; loss: number };
      yield { ...progress(step), metrics: { loss } };
    }
  };
  if (phase === "tune" || contender === adamEntry) {
    const scores = yield* training(steps, {}, (step) => ({ step, of: steps }));
    return { ...scores, testLossAtEqualTime: scores.testLoss, stepTime: 1 };
  }
  const pace = adam({ learningRate: 1e-3 });
  const scores = yield* training(steps, { pace }, (step) => ({ step, of: 2 * steps }));
  const affordable = Math.max(1, Math.round(steps / scores.stepTime));
  const { testLoss: testLossAtEqualTime } = yield* training(affordable, {}, (step) => ({
    step: steps + Math.round((step * steps) / affordable),
    of: 2 * steps,
  }));
  return { ...scores, testLossAtEqualTime };
}

/** Four problems: the test loss after the same number of steps, and after the same time, with the same tuning. */
export default defineExperiment({
  settings: { full: { share: 1 }, quick: { share: 0.2 } },
  seeds: { full: 5, quick: 1 },
  arms,
  run,
  tuning: {
    metric: "validationLoss",
    goal: "minimize",
    budget: { full: 12, quick: 1 },
    seeds: { full: 1, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) =>
    problemNames.flatMap((name) => {
      const here = named.filter((arm) => race[arm.name]?.problem === name);
      const labelOf = new Map(here.map((arm) => [arm.name, arm.label]));
      const points = units.filter(({ arm }) => labelOf.has(arm));
      return (["testLoss", "testLossAtEqualTime"] as const).map((metric) => ({
        title: problems[name].label,
        options: {
          width: 480,
          height: 60 + 18 * here.length,
          marginLeft: 210,
          x: {
            label: `test loss at equal ${metric === "testLoss" ? "steps" : "time"}`,
            grid: true,
            type: "log" as const,
          },
          y: { label: null, domain: here.map((arm) => arm.label) },
          marks: [
            Plot.dot(points, { x: ({ metrics }) => metrics[metric], y: ({ arm }) => labelOf.get(arm) }),
          ],
        },
      }));
    }),
  leaderboard: { metric: "testLoss", goal: "minimize", also: ["testLossAtEqualTime", "stepTime"] },
});
