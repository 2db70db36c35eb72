import {
  type AdamState,
  addDecayedWeights,
  type CountState,
  type LearningRate,
  type Mask,
  type MomentsOptions,
  type SquareState,
  scaleByAdagrad,
  scaleByAdam,
  scaleByLearningRate,
  scaleByLion,
  scaleByRms,
  type TraceState,
  trace,
} from "./scaling.ts";
import { chain, type GradientTransformation } from "./transformation.ts";

interface Rate {
  readonly learningRate: LearningRate;
}

interface Decay {
  /** Multiplied by the learning rate, as libraries have it; 0.01 by default. */
  readonly weightDecay?: number;
  readonly mask?: Mask;
}

/** Stochastic gradient descent; with `momentum`, heavy ball or Nesterov. */
export const sgd = <P>({
  learningRate,
  momentum = 0,
  nesterov = false,
}: Rate & { readonly momentum?: number; readonly nesterov?: boolean }): GradientTransformation<
  P,
  readonly [TraceState<P> | null, CountState]
> => {
  const rate = scaleByLearningRate<P>(learningRate);
  if (momentum > 0)
    return chain<P, readonly [GradientTransformation<P, TraceState<P>>, typeof rate]>(
      trace(momentum, nesterov),
      rate,
    );
  return {
    init: (params) => [null, rate.init(params)],
    update: (gradients, [, state], params) => {
      const [updates, next] = rate.update(gradients, state, params);
      return [updates, [null, next]];
    },
  };
};

/** Heavy-ball momentum, 0.9 by default. */
export const momentum = <P>(options: Rate & { readonly decay?: number }) =>
  sgd<P>({ learningRate: options.learningRate, momentum: options.decay ?? 0.9 });

/** Nesterov's momentum, 0.9 by default. */
export const nesterov = <P>(options: Rate & { readonly decay?: number }) =>
  sgd<P>({ learningRate: options.learningRate, momentum: options.decay ?? 0.9, nesterov: true });

/** Adam (Kingma & Ba, 2015). */
export const adam = <P>({
  learningRate,
  ...moments
}: Rate & MomentsOptions): GradientTransformation<P, readonly [AdamState<P>, CountState]> =>
  chain<P, readonly [GradientTransformation<P, AdamState<P>>, GradientTransformation<P, CountState>]>(
    scaleByAdam(moments),
    scaleByLearningRate(learningRate),
  );

/** Adam with decoupled weight decay in the libraries' convention: `θ ← θ - rate · (direction + weightDecay · θ)`. */
export const adamw = <P>({
  learningRate,
  weightDecay = 0.01,
  mask,
  ...moments
}: Rate & MomentsOptions & Decay): GradientTransformation<P, readonly [AdamState<P>, null, CountState]> =>
  chain<
    P,
    readonly [
      GradientTransformation<P, AdamState<P>>,
      GradientTransformation<P, null>,
      GradientTransformation<P, CountState>,
    ]
  >(scaleByAdam(moments), addDecayedWeights(weightDecay, mask), scaleByLearningRate(learningRate));

/** RMSProp, decay 0.9 by default. */
export const rmsprop = <P>({
  learningRate,
  decay = 0.9,
  eps = 1e-8,
}: Rate & { readonly decay?: number; readonly eps?: number }): GradientTransformation<
  P,
  readonly [SquareState<P>, CountState]
> =>
  chain<P, readonly [GradientTransformation<P, SquareState<P>>, GradientTransformation<P, CountState>]>(
    scaleByRms(decay, eps),
    scaleByLearningRate(learningRate),
  );

/** Adagrad. */
export const adagrad = <P>({
  learningRate,
}: Rate): GradientTransformation<P, readonly [SquareState<P>, CountState]> =>
  chain<P, readonly [GradientTransformation<P, SquareState<P>>, GradientTransformation<P, CountState>]>(
    scaleByAdagrad(),
    scaleByLearningRate(learningRate),
  );

/** Lion with decoupled weight decay. */
export const lion = <P>({
  learningRate,
  weightDecay = 0,
  mask,
  ...moments
}: Rate & MomentsOptions & Decay): GradientTransformation<P, readonly [TraceState<P>, null, CountState]> =>
  chain<
    P,
    readonly [
      GradientTransformation<P, TraceState<P>>,
      GradientTransformation<P, null>,
      GradientTransformation<P, CountState>,
    ]
  >(scaleByLion(moments), addDecayedWeights(weightDecay, mask), scaleByLearningRate(learningRate));
