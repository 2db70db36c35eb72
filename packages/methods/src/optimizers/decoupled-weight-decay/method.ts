import {
  add,
  clip,
  cos,
  div,
  exp,
  floor,
  log,
  mod,
  mul,
  neg,
  scalar,
  sqrt,
  sub,
  type Tensor,
  treeLeaves,
  treeMap,
  zerosLike,
} from "@prior-art/tensor";
import {
  addDecayedWeights,
  biasCorrection,
  type GradientTransformation,
  requireLearningRate,
  requireSameTree,
} from "@prior-art/toolkit/optim";

export { addDecayedWeights };

/** A number, or a scalar tensor where the value is known only in the graph (a sweep under `vmap`). */
export type Scalar = number | Tensor;

/** The multiplier η_t of the update and of the decay, from the number of steps taken, a scalar float tensor. */
export type ScheduleMultiplier = (step: Tensor) => Scalar;

/**
 * What λ is multiplied by besides η_t: nothing, as in the paper, or the learning rate too, as in the common libraries
 * (a library's `weight_decay` is λ/α).
 */
export type DecayMode = "paper" | "lr";

interface SharedOptions {
  readonly learningRate: Scalar;
  /** λ of decoupled decay, or λ' of the penalty `λ'/2 · ‖θ‖²`. */
  readonly weightDecay: Scalar;
  /** η_t; 1 by default. */
  readonly schedule?: ScheduleMultiplier;
  /** Which tensors decay: `(t) => t.rank > 1` leaves biases and norms alone. All by default. */
  readonly mask?: (parameter: Tensor) => boolean;
}

export interface AdamOptions extends SharedOptions {
  /** Decay rates of the two moments, (0.9, 0.999) by default. */
  readonly betas?: readonly [number, number];
  /** Added to √v̂, 1e-8 by default. */
  readonly eps?: number;
}

export interface SgdOptions extends SharedOptions {
  /** β₁, 0.9 by default. */
  readonly momentum?: number;
}

export interface DecoupledOptions {
  /** `"paper"` by default. */
  readonly decayMode?: DecayMode;
}

/** A product of scalars that stays a number when both are, so that it takes the parameters' dtype. */
const times = (x: Scalar, y: Scalar): Scalar =>
  typeof x === "number" && typeof y === "number" ? x * y : mul(x, y);

const always: ScheduleMultiplier = () => 1;
const everything = (): boolean => true;

export interface AdamState<P> {
  /** Steps taken, a scalar. */
  readonly step: Tensor;
  /** m_t, like the parameters. */
  readonly mean: P;
  /** v_t, like the parameters. */
  readonly square: P;
}

/** Numbers are checked; tensors are known only in the graph. */
function requireRates(op: string, { learningRate, weightDecay }: SharedOptions): void {
  requireLearningRate(op, learningRate);
  if (typeof weightDecay === "number" && !(weightDecay >= 0 && Number.isFinite(weightDecay)))
    throw new RangeError(`${op}: the decay must be finite and not negative, got ${weightDecay}`);
}

function requireBeta(op: string, beta: number): void {
  if (!(beta >= 0 && beta < 1))
    throw new RangeError(`${op}: a moment's decay rate must be from 0 to below 1, got ${beta}`);
}

const firstStep = (params: unknown): Tensor => scalar(0, treeLeaves(params)[0]?.dtype ?? "float32");

/** Algorithm 2 of the paper with `penalty` (λ') inside the gradient and `decay` (λ times what the mode says) outside. */
function adamWith<P>(
  op: string,
  options: AdamOptions,
  { penalty, decay }: { penalty?: Scalar; decay?: Scalar },
): GradientTransformation<P, AdamState<P>> {
  requireRates(op, options);
  const {
    learningRate,
    betas: [beta1, beta2] = [0.9, 0.999],
    eps = 1e-8,
    schedule = always,
    mask = everything,
  } = options;
  requireBeta(op, beta1);
  requireBeta(op, beta2);
  if (!(eps >= 0)) throw new RangeError(`${op}: eps must not be negative, got ${eps}`);
  const regularized = penalty === undefined ? undefined : addDecayedWeights<P>(penalty, mask);
  return {
    init: (params) => ({
      step: firstStep(params),
      mean: treeMap(zerosLike, params),
      square: treeMap(zerosLike, params),
    }),
    update: (raw, state, params) => {
      requireSameTree(op, raw, params);
      requireSameTree(`${op} (state)`, state.mean, params);
      const gradients = regularized ? regularized.update(raw, null, params)[0] : raw;
      const step = add(state.step, 1);
      const mean = treeMap((m, g) => add(mul(beta1, m), mul(1 - beta1, g)), state.mean, gradients);
      const square = treeMap(
        (v, g) => add(mul(beta2, v), mul(1 - beta2, mul(g, g))),
        state.square,
        gradients,
      );
      const eta = schedule(state.step);
      const rate = div(times(eta, learningRate), biasCorrection(beta1, step));
      const root = sqrt(biasCorrection(beta2, step));
      const updates = treeMap(
        (m, v, p) => {
          // α m̂/(√v̂ + ε) with the corrections moved into scalars, so that no tensor is divided by them.
          const adaptive = div(mul(mul(rate, root), m), add(sqrt(v), mul(root, eps)));
          return neg(decay !== undefined && mask(p) ? add(adaptive, mul(times(eta, decay), p)) : adaptive);
        },
        mean,
        square,
        params,
      );
      return [updates, { step, mean, square }];
    },
  };
}

const decayFactor = ({ learningRate, weightDecay }: SharedOptions, mode: DecayMode = "paper"): Scalar =>
  mode === "lr" ? times(learningRate, weightDecay) : weightDecay;

/**
 * AdamW (Algorithm 2): `θ ← θ - η(α m̂/(√v̂ + ε) + λθ)`. The decay is not divided by √v̂ and, in the paper's mode, not
 * multiplied by α.
 * @throws RangeError for rates, decays and momenta out of range. @throws TensorError from `update` when trees don't fit.
 * @example
 * const optimizer = adamw({ learningRate: 1e-3, weightDecay: 1e-4 });
 * const [updates, next] = optimizer.update(gradients, state, params);
 * params = treeMap(add, params, updates);
 */
export function adamw<P>(options: AdamOptions & DecoupledOptions): GradientTransformation<P, AdamState<P>> {
  return adamWith("adamw", options, { decay: decayFactor(options, options.decayMode) });
}

/**
 * Adam on the loss plus `λ'/2 · ‖θ‖²`: the penalty's gradient passes through the moments (Algorithm 2, line 6 in violet).
 * @throws RangeError for rates, decays and momenta out of range. @throws TensorError from `update` when trees don't fit.
 */
export function adamL2<P>(options: AdamOptions): GradientTransformation<P, AdamState<P>> {
  return adamWith("adamL2", options, { penalty: options.weightDecay });
}

export interface MomentumState<P> {
  readonly step: Tensor;
  /** m_t, like the parameters; it holds the rate already. */
  readonly momentum: P;
}

/** Algorithm 1 of the paper. */
function sgdWith<P>(
  op: string,
  options: SgdOptions,
  { penalty, decay }: { penalty?: Scalar; decay?: Scalar },
): GradientTransformation<P, MomentumState<P>> {
  requireRates(op, options);
  const { learningRate, momentum: beta1 = 0.9, schedule = always, mask = everything } = options;
  requireBeta(op, beta1);
  const regularized = penalty === undefined ? undefined : addDecayedWeights<P>(penalty, mask);
  return {
    init: (params) => ({ step: firstStep(params), momentum: treeMap(zerosLike, params) }),
    update: (raw, state, params) => {
      requireSameTree(op, raw, params);
      requireSameTree(`${op} (state)`, state.momentum, params);
      const gradients = regularized ? regularized.update(raw, null, params)[0] : raw;
      const eta = schedule(state.step);
      const rate = times(eta, learningRate);
      const momentum = treeMap((m, g) => add(mul(beta1, m), mul(rate, g)), state.momentum, gradients);
      const updates = treeMap(
        (m, p) => neg(decay !== undefined && mask(p) ? add(m, mul(times(eta, decay), p)) : m),
        momentum,
        params,
      );
      return [updates, { step: add(state.step, 1), momentum }];
    },
  };
}

/**
 * SGDW (Algorithm 1): `m ← β₁m + ηαg`, `θ ← θ - m - ηλθ`.
 * @throws RangeError for rates, decays and momenta out of range. @throws TensorError from `update` when trees don't fit.
 */
export function sgdw<P>(options: SgdOptions & DecoupledOptions): GradientTransformation<P, MomentumState<P>> {
  return sgdWith("sgdw", options, { decay: decayFactor(options, options.decayMode) });
}

/**
 * SGD with momentum on the loss plus `λ'/2 · ‖θ‖²` (Algorithm 1, line 6 in violet).
 * @throws RangeError for rates, decays and momenta out of range. @throws TensorError from `update` when trees don't fit.
 */
export function sgdL2<P>(options: SgdOptions): GradientTransformation<P, MomentumState<P>> {
  return sgdWith("sgdL2", options, { penalty: options.weightDecay });
}

export interface TrainingBudget {
  /** λ_norm. */
  readonly norm: number;
  /** b, examples a step. */
  readonly batchSize: number;
  /** B, examples in the training set. */
  readonly trainSize: number;
  /** T; with warm restarts, the length of the current period. */
  readonly epochs: number;
}

/**
 * λ = λ_norm √(b / (B T)) (Appendix B.1): one λ_norm for training runs of different lengths.
 * @throws RangeError unless sizes and epochs are positive and `norm` is not negative.
 */
export function normalizedWeightDecay({ norm, batchSize, trainSize, epochs }: TrainingBudget): number {
  if (!(norm >= 0 && batchSize > 0 && trainSize > 0 && epochs > 0))
    throw new RangeError(
      `normalizedWeightDecay: needs norm ≥ 0 and positive sizes, got ${JSON.stringify({ norm, batchSize, trainSize, epochs })}`,
    );
  return norm * Math.sqrt(batchSize / (trainSize * epochs));
}

/**
 * η = ½ + ½cos(π T_cur/T_i) with periods of T₀, T₀·m, T₀·m², … steps (eq. 14): the multiplier of AdamWR and SGDWR.
 * One period as long as the training is cosine annealing.
 * @param firstPeriod T₀, in steps.
 * @param multiplier m ≥ 1.
 * @throws RangeError on a period that is not positive or a multiplier below 1.
 */
export function cosineWarmRestarts({
  firstPeriod,
  multiplier = 1,
}: {
  readonly firstPeriod: number;
  readonly multiplier?: number;
}): ScheduleMultiplier {
  if (!(firstPeriod > 0 && multiplier >= 1))
    throw new RangeError(
      `cosineWarmRestarts: needs firstPeriod > 0 and multiplier ≥ 1, got ${firstPeriod} and ${multiplier}`,
    );
  const annealed = (fraction: Tensor): Tensor => add(0.5, mul(0.5, cos(mul(Math.PI, fraction))));
  return (step) => {
    if (multiplier === 1) return annealed(mod(div(step, firstPeriod), 1));
    // Periods before number i take T₀(mⁱ - 1)/(m - 1) steps; the small shift keeps a period's first step in it.
    const grown = add(mul(div(step, firstPeriod), multiplier - 1), 1 + 1e-6);
    const index = floor(div(log(grown), Math.log(multiplier)));
    const scale = exp(mul(index, Math.log(multiplier)));
    const start = mul(firstPeriod / (multiplier - 1), sub(scale, 1));
    return annealed(clip(div(sub(step, start), mul(firstPeriod, scale)), 0, 1));
  };
}
