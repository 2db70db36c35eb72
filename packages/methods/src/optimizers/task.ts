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
import { relativeStepTime, train } from "./race.ts";

const entries: Readonly<Record<string, Contender>> = {
  sgd: {
    label: "SGD",
    space: { learningRate: [3e-3, 0.01, 0.03, 0.1, 0.3, 1, 2] },
    optimizer: ({ learningRate = 0.1 }, { steps }) => sgd({ learningRate: cosineDecay(learningRate, steps) }),
  },
  momentum: {
    label: "SGD with momentum",
    space: { learningRate: [1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3], decay: [0.9, 0.98] },
    optimizer: ({ learningRate = 0.01, decay = 0.9 }, { steps }) =>
      momentum({ learningRate: cosineDecay(learningRate, steps), decay }),
  },
  adam: {
    label: "Adam",
    space: { learningRate: [3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1] },
    optimizer: ({ learningRate = 1e-3 }, { steps }) =>
      adam({ learningRate: cosineDecay(learningRate, steps) }),
  },
  ...contenders,
};

const problemNames = Object.keys(problems) as ProblemName[];

interface Entry {
  readonly contender: Contender;
  readonly problem: ProblemName;
}

/** Every contender on every problem that it can enter, by the arm's name. */
const race: Readonly<Record<string, Entry>> = Object.fromEntries(
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
  /** Test loss of a training that takes as long as Adam's, schedule included; the same as `testLoss` while tuning. */
  readonly testLossAtEqualTime: number;
  /** Time of a step over that of a step of Adam; 1 while tuning. */
  readonly stepTime: number;
};

/** Equal time changes the number of steps by at most these factors. */
const [FEWEST, MOST] = [0.02, 2];

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
  const optimizerFor = async (budget: number) =>
    contender.optimizer({ ...(hyperparameters as Hyperparameters) }, { steps: budget });
  const training = async function* (budget: number, done: number, of: number) {
    const loop = train({ problem, optimizer: await optimizerFor(budget), batchSize, steps: budget, seed });
    for (;;) {
      const { value, done: over } = await loop.next();
      if (over) return problem.score(value);
      const { step, loss } = value as { step: number; loss: number };
      yield { step: done + step, of, metrics: { loss } };
    }
  };
  if (phase === "tune") {
    const scores = yield* training(steps, 0, steps);
    return { ...scores, testLossAtEqualTime: scores.testLoss, stepTime: 1 };
  }
  const optimizer = await optimizerFor(steps);
  const stepTime = await relativeStepTime({ problem, optimizer, batchSize, steps, seed });
  const affordable = Math.round(steps * Math.min(MOST, Math.max(FEWEST, 1 / stepTime)));
  const scores = yield* training(steps, 0, steps + affordable);
  const { testLoss: testLossAtEqualTime } = yield* training(affordable, steps, steps + affordable);
  return { ...scores, testLossAtEqualTime, stepTime };
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
    budget: { full: 8, quick: 1 },
    seeds: { full: 1, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) =>
    problemNames.map((name) => {
      const { label } = problems[name];
      const here = named.filter((arm) => race[arm.name]?.problem === name);
      const labelOf = new Map(here.map((arm) => [arm.name, arm.label]));
      const points = units.filter(({ arm }) => labelOf.has(arm));
      return {
        title: label,
        options: {
          width: 460,
          height: 60 + 18 * here.length,
          marginLeft: 190,
          x: { label: "test loss at equal steps", grid: true, type: "log" },
          y: { label: null, domain: here.map((arm) => arm.label) },
          marks: [
            Plot.dot(points, { x: ({ metrics }) => metrics.testLoss, y: ({ arm }) => labelOf.get(arm) }),
          ],
        },
      };
    }),
  leaderboard: { metric: "testLoss", goal: "minimize", also: ["testLossAtEqualTime", "stepTime"] },
});
