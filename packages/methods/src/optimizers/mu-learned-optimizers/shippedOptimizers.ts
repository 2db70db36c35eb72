import { data, random, slice, type Tensor, tensor, treeMap } from "@prior-art/tensor";
import { type Checkpoint, checkpoint } from "@prior-art/toolkit/checkpoints";
import { BATCH, DEPTH, digitTask, META_WIDTH } from "./digitTask.ts";
import { type LearnedOptimizerParams, metaTrain, type Parametrization, smallFcLopt } from "./method.ts";
import { FIRST_RATES, searchRate } from "./rateSearch.ts";
import { finalLoss, trainingLosses } from "./training.ts";

/** Number of shipped optimizers of each kind, from seeds 0, 1, …. */
export const META_SEEDS = 5;
/** Widths that the mixed variant was trained on. */
export const MIXED_WIDTHS: readonly number[] = [8, 16, 32];

export const learnedOptimizer = smallFcLopt({ hidden: 8 });

const SETTINGS = { metaSteps: 300, truncation: 20, horizon: 200, sigma: 0.01 };
/** The mixed variant has 6 of each width. */
const PAIRS = { narrow: 16, mixed: 18 };

/** Optimizers and tasks that meta-learning rates are chosen on; no test sees them. */
const SEARCH = { metaSeeds: 2, taskSeeds: 3, metaKey: 2_000_000, taskKey: 2_000_001 };

const RECIPE = {
  ...SETTINGS,
  seeds: META_SEEDS,
  hidden: 8,
  depth: DEPTH,
  batch: BATCH,
  search: { ...SEARCH, rates: FIRST_RATES, width: META_WIDTH },
};

/** φ meta-trained from each of some keys, each tensor `[keys, …]`. */
async function metaTrained(
  parametrization: Parametrization,
  widths: readonly number[],
  pairs: number,
  metaLearningRate: number,
  keys: Tensor,
): Promise<LearnedOptimizerParams> {
  const tasks = await Promise.all(widths.map((width) => digitTask(parametrization, { width })));
  const options = { ...SETTINGS, tasks, optimizer: learnedOptimizer, pairs, metaLearningRate };
  return (await metaTrain(options, keys)).phi;
}

/** Loss after the horizon's steps at the narrow width, of optimizers meta-trained at a rate; geometric mean. */
async function validationLoss(parametrization: Parametrization, rate: number): Promise<number> {
  const metaKeys = random.split(random.key(SEARCH.metaKey), SEARCH.metaSeeds);
  const phis = await metaTrained(parametrization, [META_WIDTH], PAIRS.narrow, rate, metaKeys);
  const task = await digitTask(parametrization);
  const taskKeys = random.split(random.key(SEARCH.taskKey), SEARCH.taskSeeds);
  const trainings: number[][] = [];
  for (let seed = 0; seed < SEARCH.metaSeeds; seed++) {
    const phi = treeMap((t) => slice(t, seed), phis);
    const optimizer = learnedOptimizer.toOptimizer<Parameters<typeof task.loss>[0]>(phi, {
      scale: task.model.updateScale,
    });
    trainings.push(...(await trainingLosses(task, optimizer, SETTINGS.horizon, taskKeys)));
  }
  return finalLoss(trainings);
}

/** Learned optimizers, and how their meta-learning rate was found. */
export interface NarrowOptimizers {
  /** Each tensor `[META_SEEDS, …]`. */
  readonly phi: LearnedOptimizerParams;
  /** Meta-learning rates tried, ascending, and the loss of each on validation tasks. */
  readonly search: { readonly rates: Tensor; readonly losses: Tensor };
  readonly rate: Tensor;
}

const metaKeys = (): Tensor => random.split(random.key(0), META_SEEDS);

const narrow = (parametrization: Parametrization): Checkpoint<NarrowOptimizers> =>
  checkpoint({
    name: `learned-optimizer-${parametrization}`,
    settings: { ...RECIPE, pairs: PAIRS.narrow, width: META_WIDTH },
    async train() {
      const { best, rates, losses } = await searchRate((rate) => validationLoss(parametrization, rate));
      const phi = await metaTrained(parametrization, [META_WIDTH], PAIRS.narrow, best, metaKeys());
      return {
        phi,
        search: { rates: tensor([...rates]), losses: tensor([...losses]) },
        rate: tensor([best]),
      };
    },
  });

/** Learned optimizers φ meta-trained on narrow perceptrons. */
export const narrowOptimizers: Readonly<Record<Parametrization, Checkpoint<NarrowOptimizers>>> = {
  mup: narrow("mup"),
  sp: narrow("sp"),
};

const mixed = (parametrization: Parametrization): Checkpoint<LearnedOptimizerParams> =>
  checkpoint({
    name: `learned-optimizer-${parametrization}-mixed`,
    settings: { ...RECIPE, pairs: PAIRS.mixed, narrowPairs: PAIRS.narrow, widths: MIXED_WIDTHS },
    async train() {
      const [rate] = await data((await narrowOptimizers[parametrization].load()).rate);
      return metaTrained(parametrization, MIXED_WIDTHS, PAIRS.mixed, rate!, metaKeys());
    },
  });

/** Those meta-trained on perceptrons of several widths, at the rate found for one; each tensor `[META_SEEDS, …]`. */
export const mixedOptimizers: Readonly<Record<Parametrization, Checkpoint<LearnedOptimizerParams>>> = {
  mup: mixed("mup"),
  sp: mixed("sp"),
};
