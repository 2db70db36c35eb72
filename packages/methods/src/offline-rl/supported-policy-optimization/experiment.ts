import { random, scalar } from "@prior-art/tensor";
import {
  type ArmSpec,
  DivergedError,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import {
  behaviourCloning,
  normalizedScore,
  type OfflineAgent,
  offlineData,
  offlineEnvironment,
  type ReplayAgent,
  type Td3State,
  td3,
  td3bc,
  trainOffline,
} from "@prior-art/toolkit/rl";
import { mean } from "@prior-art/toolkit/stats";
import { judgeOf, shareOutside } from "../judging.ts";
import { fineTune } from "./fineTuning.ts";
import { cooledStrength, type SpotExtra, spot } from "./method.ts";

const TASK = "point-mass";
const QUALITIES = ["medium", "mixed", "expert"] as const;
type Quality = (typeof QUALITIES)[number];

const METHODS = { bc: "Behaviour cloning", td3: "TD3", td3bc: "TD3+BC", spot: "SPOT" } as const;
type Method = keyof typeof METHODS;
type Arm = `${Method}-${Quality}`;

interface Settings {
  /** Episodes of 50 steps in a data set. */
  readonly episodes: number;
  /** Updates of the actor; each takes two of the critics. */
  readonly steps: number;
  readonly densitySteps: number;
  /** Steps online after that. */
  readonly onlineSteps: number;
}

interface Hyperparameters {
  readonly alpha?: number;
  readonly strength?: number;
  readonly beta?: number;
}

type Metrics = {
  /** Normalized score, the mean of the last three evaluations. */
  readonly score: number;
  /** Share of the data's states in which the last policy acts outside the data's support. */
  readonly outside: number;
  /** Mean normalized score of the data's own episodes. */
  readonly data: number;
  /** Score after fine-tuning, the mean of the last three evaluations, and the lowest on the way; the offline score where there is none. */
  readonly fineTuned: number;
  readonly lowest: number;
};

const BATCH = 64;
/** Evaluations during a training. */
const EVALUATIONS = 10;

const tail = (scores: readonly number[]): number => mean(scores.slice(-3));

/** The agent of an arm. All share networks, rates and the discount. */
function agentOf(method: Method, settings: Settings, h: Hyperparameters): OfflineAgent<unknown> {
  const { observationSize, actions } = offlineEnvironment(TASK);
  const shared = {
    observationSize,
    actionSize: actions.kind === "box" ? actions.size : 1,
    hidden: [64, 64],
    discount: 0.97,
    targetRate: 0.02,
  };
  if (method === "bc") return behaviourCloning(shared) as OfflineAgent<unknown>;
  if (method === "td3") return td3({ ...shared, normalize: true }) as OfflineAgent<unknown>;
  if (method === "td3bc") return td3bc({ ...shared, alpha: h.alpha! }) as OfflineAgent<unknown>;
  return spot({
    ...shared,
    strength: h.strength!,
    beta: h.beta!,
    fit: { steps: settings.densitySteps },
  }) as OfflineAgent<unknown>;
}

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const [method, quality] = arm.split("-") as [Method, Quality];
  const chosen = hyperparameters as Hyperparameters;
  const agent = agentOf(method, settings, chosen);
  const { transitions, returns } = offlineData({ task: TASK, quality, episodes: settings.episodes, seed });
  const judge = judgeOf(TASK, agent, seed);
  const online = method === "spot" && quality === "mixed" && phase === "test";
  const total = settings.steps + (online ? settings.onlineSteps : 0);
  try {
    const scores: number[] = [];
    let state: unknown;
    for await (const progress of trainOffline(agent, transitions, {
      steps: settings.steps,
      batchSize: BATCH,
      key: random.key(seed),
      stepsPerRun: Math.ceil(settings.steps / EVALUATIONS),
    })) {
      state = progress.state;
      scores.push(await judge.score(state));
      yield { step: progress.step, of: total, metrics: { score: scores.at(-1)! } };
    }
    const score = tail(scores);
    if (!Number.isFinite(score)) throw new DivergedError(`the score is ${score}`);
    const outside = await shareOutside(agent, state, transitions, [TASK, quality]);
    const after: number[] = [];
    if (online) {
      const spotAgent = agent as ReplayAgent<Td3State<SpotExtra>>;
      const every = settings.onlineSteps / EVALUATIONS;
      for await (const progress of fineTune(spotAgent, state as Td3State<SpotExtra>, {
        environment: offlineEnvironment(TASK),
        transitions,
        steps: settings.onlineSteps,
        every: every / 4,
        batchSize: BATCH,
        seed,
        adjust: (s, step) => ({
          ...s,
          extra: {
            ...s.extra,
            strength: scalar(chosen.strength! * cooledStrength(step, settings.onlineSteps)),
          },
        }),
      })) {
        if (progress.step % every !== 0) continue;
        after.push(await judge.score(progress.state));
        yield { step: settings.steps + progress.step, of: total, metrics: { score: after.at(-1)! } };
      }
    }
    return {
      score,
      outside,
      data: normalizedScore(TASK, mean([...returns])),
      fineTuned: online ? tail(after) : score,
      lowest: online ? Math.min(...after) : score,
    };
  } finally {
    await judge.release();
  }
}

/** Six candidates for each method that has something to tune. */
const SPACES = {
  td3bc: { alpha: [0.4, 1, 2.5, 5, 10, 20] },
  spot: { strength: [0.1, 0.3, 1], beta: [0.1, 0.5] },
} as const;

const arms = Object.fromEntries(
  QUALITIES.flatMap((quality) =>
    (Object.keys(METHODS) as Method[]).map((method) => [
      `${method}-${quality}`,
      {
        label: `${METHODS[method]}, ${quality}`,
        ...(method === "td3bc" || method === "spot" ? { space: SPACES[method] } : {}),
      },
    ]),
  ),
) as unknown as Readonly<Record<Arm, ArmSpec>>;

/** SPOT's score against another method's on one data set. */
const against = (rival: Method, quality: Quality, of: string, statement: string, margin = 0) =>
  ({
    kind: "comparison",
    id: `${quality}-${margin < 0 ? "not-below" : "above"}-${rival}`,
    of,
    statement,
    metric: "score",
    better: `spot-${quality}`,
    worse: `${rival}-${quality}`,
    goal: "maximize",
    margin,
  }) as const;

const COMPETITIVE = "density-penalty-competitive";

export default defineExperiment({
  settings: {
    full: { episodes: 15, steps: 2000, densitySteps: 1500, onlineSteps: 2000 },
    quick: { episodes: 15, steps: 150, densitySteps: 200, onlineSteps: 400 },
  },
  seeds: { full: 8, quick: 2 },
  arms,
  run,
  tuning: {
    metric: "score",
    goal: "maximize",
    budget: { full: 6, quick: 1 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    ...QUALITIES.map((quality) =>
      against("td3", quality, COMPETITIVE, `On ${quality} data SPOT scores above TD3 without a constraint`),
    ),
    ...(["medium", "mixed"] as const).map((quality) =>
      against("bc", quality, COMPETITIVE, `On ${quality} data SPOT scores above behaviour cloning`),
    ),
    ...QUALITIES.map((quality) =>
      against(
        "td3bc",
        quality,
        COMPETITIVE,
        `On ${quality} data SPOT scores at most 3 points below TD3+BC, tuned as well`,
        -3,
      ),
    ),
    against(
      "td3bc",
      "mixed",
      "support-beats-divergence",
      "On mixed data, where the good actions are rare, SPOT scores above TD3+BC, which pulls towards all of them",
    ),
    {
      kind: "comparison",
      id: "mixed-no-more-outside",
      of: "support-beats-divergence",
      statement:
        "On mixed data SPOT acts outside the data's support in at most 5% more of the states than TD3+BC",
      metric: "outside",
      better: "spot-mixed",
      worse: "td3bc-mixed",
      goal: "minimize",
      margin: -0.05,
    },
    {
      kind: "statistic",
      id: "online-improves",
      of: "online-fine-tuning",
      statement: "After 2000 steps online with a falling strength the score is above the offline one",
      quantity: "gain in normalized score",
      arms: ["spot-mixed"],
      perSeed: ({ "spot-mixed": { fineTuned, score } }) => fineTuned - score,
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "online-smooth",
      of: "online-fine-tuning",
      statement: "On the way the score never falls more than 10 points below the offline one, on average",
      quantity: "lowest minus offline score",
      arms: ["spot-mixed"],
      perSeed: ({ "spot-mixed": { lowest, score } }) => lowest - score,
      pass: { min: -10 },
    },
  ],
  figure: ({ Plot, units }) =>
    QUALITIES.map((quality) => {
      const own = units
        .filter(({ arm }) => arm.endsWith(`-${quality}`))
        .map(({ arm, metrics }) => ({
          method: METHODS[arm.split("-")[0] as Method],
          score: metrics.score,
        }));
      const data = mean(
        units.filter(({ arm }) => arm === `bc-${quality}`).map(({ metrics }) => metrics.data),
      );
      return {
        title: `Data: ${quality} (dashed: its episodes)`,
        options: {
          marginLeft: 120,
          x: { label: "Normalized score", grid: true, domain: [-60, 105], clamp: true },
          y: { label: null, domain: Object.values(METHODS) },
          marks: [
            Plot.ruleX([data], { strokeDasharray: "4 3" }),
            Plot.dot(own, { x: "score", y: "method" }),
            Plot.tickX(own, Plot.groupY({ x: "mean" }, { x: "score", y: "method", strokeWidth: 3 })),
          ],
        },
      };
    }),
});
