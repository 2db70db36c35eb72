import {
  add,
  cast,
  cond,
  div,
  grad,
  greater,
  greaterEqual,
  less,
  lessEqual,
  logicalAnd,
  logicalNot,
  logicalOr,
  mul,
  neg,
  scalar,
  sqrt,
  sub,
  sum,
  type Tensor,
  treeLeaves,
  treeMap,
  valueAndGrad,
  where,
  zerosLike,
} from "@prior-art/tensor";
import {
  applyUpdates,
  type ClosureOptimizer,
  type Objective,
  requireLearningRate,
  requireSameTree,
} from "@prior-art/toolkit/optim";
import { eachTensor, type Grouping, modelSteps, requireEta } from "./modelStep.ts";

export { type LineSearchOptions, type LineSearchState, stochasticLineSearch } from "./lineSearch.ts";
export { eachTensor, type Grouping, modelStep } from "./modelStep.ts";

/** Lengthens the trial step while trials succeed and shortens it while they fail, once an epoch. */
export interface AutoSchedule {
  /** Steps of an epoch; 500 by default. */
  readonly stepsPerEpoch?: number;
  /** γ: the share of model steps above which the trial step shrinks; 0.05 by default, half of it for SMBi. */
  readonly tolerance?: number;
  /** β: what it is multiplied by then, and divided by otherwise; 0.9 by default. */
  readonly factor?: number;
  /** The longest trial step, 20 by default. */
  readonly largest?: number;
}

export interface SmbOptions {
  /** α, the length of the trial step in gradients; 1 by default. A scalar tensor in sweeps under `vmap`. */
  readonly learningRate?: number | Tensor;
  /** η in (0, 1): how much less than the trial step a model step may promise; 0.99 by default. */
  readonly eta?: number;
  /** Share of the promised decrease that a trial must reach (Armijo); 0.1 by default. */
  readonly c?: number;
  /** SMBi: a failed trial is discarded, and the next batch builds the model for the earlier batch's gradient. */
  readonly independentBatch?: boolean;
  /** `true` for the defaults; off by default. */
  readonly autoSchedule?: boolean | AutoSchedule;
  /** Each tensor by default. */
  readonly groups?: Grouping;
}

export interface SmbState<P> {
  /** α now. */
  readonly learningRate: Tensor;
  /** Steps and model steps since α was last looked at, float scalars. */
  readonly steps: Tensor;
  readonly modelSteps: Tensor;
  /** Whether the last step was the trial (or, in SMBi, a trial failed and nothing moved) and not a model's; a bool. */
  readonly tookTrial: Tensor;
  /** The batch's loss at the last trial point. */
  readonly trialLoss: Tensor;
  /** Work so far in gradients: a step takes 1, the test of its trial 1/3, a model 1 in place of the test. */
  readonly evaluations: Tensor;
  /** SMBi only: whether a model waits for this batch, a bool, and the gradient that it is for. */
  readonly waiting: { readonly pending: Tensor; readonly gradient: P } | null;
}

const squaredNorm = (tree: unknown): Tensor =>
  treeLeaves(tree)
    .map((t) => sum(mul(t, t)))
    .reduce((a, b) => add(a, b));

/** Gradients shorter than this accept any trial, as nothing can be gained. */
const STATIONARY = 1e-8;

/** What replaces a failed trial. */
type Repair<P> = (objective: Objective<P>, params: P, trial: P, gradients: P) => P;

/**
 * Stochastic model building: an SGD step is tried on the batch, and kept if the batch's loss falls enough. Otherwise the
 * gradient at the trial point, on the same batch, gives each group of parameters a model whose minimizer, of another
 * length and direction, replaces the step. One or two gradients a step; no rate to tune.
 *
 * @throws RangeError for a learning rate that is not positive, η outside (0, 1), c outside [0, 1), or a schedule that
 *   makes no sense. @throws TensorError, at a step, when the state is that of other parameters.
 * @example
 * const optimizer = chainClosure(smb<MlpParams>({ learningRate: 0.5 }), masked(setToZero(), isFrozen));
 */
export function smb<P>(options: SmbOptions = {}): ClosureOptimizer<P, SmbState<P>> {
  const { eta = 0.99, groups = eachTensor, independentBatch = false } = options;
  requireEta("smb", eta);
  const repair: Repair<P> = ({ loss }, params, trial, gradients) => {
    const trialGradients = grad((p: P) => loss(p))(applyUpdates(params, trial));
    return modelSteps(trial, gradients, trialGradients, gradients, { eta, groups });
  };
  if (!independentBatch) return tried("smb", options, repair);
  return independent(options, { eta, groups });
}

/**
 * The ablation of SMB: a failed trial is replaced by the best, on the batch, of shortened ones, which keep its direction.
 * With two lengths it costs as much as a model.
 * @param lengths shares of the trial step, ½ and ⅒ by default.
 * @throws RangeError as `smb`, and unless the lengths are shares.
 */
export function shortenedTrials<P>(
  options: Omit<SmbOptions, "eta" | "groups" | "independentBatch"> = {},
  lengths: readonly number[] = [0.5, 0.1],
): ClosureOptimizer<P, SmbState<P>> {
  if (lengths.length === 0 || lengths.some((length) => !(length > 0 && length < 1)))
    throw new RangeError(`shortenedTrials: lengths are shares between 0 and 1, got [${lengths.join(", ")}]`);
  return tried("shortenedTrials", options, ({ loss }, params, trial) => {
    const at = (length: number): P => treeMap((s) => mul(length, s), trial);
    const first = { step: at(lengths[0]!), loss: loss(applyUpdates(params, at(lengths[0]!))) };
    return lengths.slice(1).reduce((best, length) => {
      const step = at(length);
      const value = loss(applyUpdates(params, step));
      // Written so that a NaN loses.
      const better = logicalNot(greaterEqual(value, best.loss));
      return {
        step: treeMap((a, b) => where(better, a, b), step, best.step),
        loss: where(better, value, best.loss),
      };
    }, first).step;
  });
}

interface Settled {
  readonly learningRate: number | Tensor;
  readonly c: number;
  /** α and the counts after a step that was a model's (1) or not (0). */
  readonly adapt: (state: Counts, modelStep: Tensor) => Counts;
}

type Counts = Pick<SmbState<unknown>, "learningRate" | "steps" | "modelSteps">;

function settle(
  op: string,
  { learningRate = 1, c = 0.1, autoSchedule = false, independentBatch }: SmbOptions,
): Settled {
  requireLearningRate(op, learningRate);
  if (!(c >= 0 && c < 1)) throw new RangeError(`${op}: c must be in [0, 1), got ${c}`);
  const {
    stepsPerEpoch = 500,
    tolerance = independentBatch ? 0.025 : 0.05,
    factor = 0.9,
    largest = 20,
  } = typeof autoSchedule === "object" ? autoSchedule : {};
  if (!(stepsPerEpoch >= 1 && tolerance >= 0 && factor > 0 && factor < 1 && largest > 0))
    throw new RangeError(
      `${op}: autoSchedule needs stepsPerEpoch ≥ 1, tolerance ≥ 0, factor in (0, 1) and largest > 0, got ${JSON.stringify({ stepsPerEpoch, tolerance, factor, largest })}`,
    );
  const adapt = (counts: Counts, modelStep: Tensor): Counts => {
    const steps = add(counts.steps, 1);
    const modelCount = add(counts.modelSteps, modelStep);
    if (!autoSchedule) return { learningRate: counts.learningRate, steps, modelSteps: modelCount };
    const over = greaterEqual(steps, stepsPerEpoch);
    const rate = counts.learningRate;
    const grown = div(rate, factor);
    const adapted = where(
      greater(div(modelCount, steps), tolerance),
      mul(factor, rate),
      where(lessEqual(grown, largest), grown, rate),
    );
    return {
      learningRate: where(over, adapted, rate),
      steps: where(over, 0, steps),
      modelSteps: where(over, 0, modelCount),
    };
  };
  return { learningRate, c, adapt };
}

function startingState<P>(
  params: P,
  learningRate: number | Tensor,
  waiting: SmbState<P>["waiting"],
): SmbState<P> {
  const zero = scalar(0, treeLeaves(params)[0]?.dtype ?? "float32");
  return {
    learningRate: typeof learningRate === "number" ? add(zero, learningRate) : learningRate,
    steps: zero,
    modelSteps: zero,
    tookTrial: cast(add(zero, 1), "bool"),
    trialLoss: zero,
    evaluations: zero,
    waiting,
  };
}

/** The trial step of this batch, and whether it is good enough. */
function tryStep<P>({ loss }: Objective<P>, params: P, rate: Tensor, c: number) {
  const [before, gradients] = valueAndGrad((p: P) => loss(p))(params);
  requireSameTree("smb", gradients, params);
  const trial = treeMap((g) => neg(mul(rate, g)), gradients);
  const trialLoss = loss(applyUpdates(params, trial));
  const square = squaredNorm(gradients);
  const accepted = logicalOr(
    lessEqual(trialLoss, sub(before, mul(c, mul(rate, square)))),
    less(sqrt(square), STATIONARY),
  );
  return { before, gradients, trial, trialLoss, accepted };
}

/** Trials that are repaired on the same batch. */
function tried<P>(op: string, options: SmbOptions, repair: Repair<P>): ClosureOptimizer<P, SmbState<P>> {
  const { learningRate, c, adapt } = settle(op, options);
  return {
    init: (params) => startingState<P>(params, learningRate, null),
    step: (objective, state, params) => {
      const { before, gradients, trial, trialLoss, accepted } = tryStep(
        objective,
        params,
        state.learningRate,
        c,
      );
      const updates = cond(
        accepted,
        () => trial,
        () => repair(objective, params, trial, gradients),
      );
      const repaired = sub(1, cast(accepted, before.dtype));
      return [
        updates,
        {
          ...adapt(state, repaired),
          tookTrial: accepted,
          trialLoss,
          evaluations: add(state.evaluations, add(4 / 3, mul(2 / 3, repaired))),
          waiting: null,
        },
        before,
      ];
    },
  };
}

/** SMBi: failed trials leave their gradient to a model that the next batch builds. */
function independent<P>(
  options: SmbOptions,
  { eta, groups }: { readonly eta: number; readonly groups: Grouping },
): ClosureOptimizer<P, SmbState<P>> {
  const { learningRate, c, adapt } = settle("smb", options);
  return {
    init: (params) => {
      const gradient = treeMap(zerosLike, params);
      return startingState<P>(params, learningRate, { pending: cast(scalar(0), "bool"), gradient });
    },
    step: (objective, state, params) => {
      const { pending, gradient } = state.waiting!;
      requireSameTree("smb", gradient, params);
      const { before, gradients, trial, trialLoss, accepted } = tryStep(
        objective,
        params,
        state.learningRate,
        c,
      );
      const updates = cond(
        pending,
        () => {
          const trialGradients = grad((p: P) => objective.loss(p))(applyUpdates(params, trial));
          return modelSteps(trial, gradients, trialGradients, gradient, { eta, groups });
        },
        () => treeMap((s) => where(accepted, s, zerosLike(s)), trial),
      );
      const model = cast(pending, before.dtype);
      return [
        updates,
        {
          ...adapt(state, model),
          tookTrial: logicalNot(pending),
          trialLoss,
          evaluations: add(state.evaluations, add(4 / 3, mul(2 / 3, model))),
          waiting: { pending: logicalAnd(logicalNot(pending), logicalNot(accepted)), gradient: gradients },
        },
        before,
      ];
    },
  };
}
