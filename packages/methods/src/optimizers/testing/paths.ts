/** The paths that optimizers take, in steps compiled as in a training. */
import { jit } from "@prior-art/tensor";
import { applyUpdates, chain, type GradientTransformation } from "@prior-art/toolkit/optim";

export interface Path<P, S> {
  /** At the start and after each step. */
  readonly params: readonly P[];
  /** After each step. */
  readonly states: readonly S[];
}

/** Steps on given gradients, wherever the parameters are. */
export const path = <P, S>(
  optimizer: GradientTransformation<P, S>,
  start: P,
  gradients: readonly P[],
): Promise<Path<P, S>> => walk(optimizer, start, gradients.length, (_, step) => gradients[step]!);

/** Parameters at the start and after each step on the gradient at the parameters before it; steps count from 0. */
export const descent = async <P, S>(
  optimizer: GradientTransformation<P, S>,
  start: P,
  steps: number,
  gradient: (params: P, step: number) => P,
): Promise<readonly P[]> => (await walk(optimizer, start, steps, gradient)).params;

async function walk<P, S>(
  optimizer: GradientTransformation<P, S>,
  start: P,
  steps: number,
  gradient: (params: P, step: number) => P,
): Promise<Path<P, S>> {
  const step = jit((g: P, s: S, p: P) => {
    const [updates, next] = optimizer.update(g, s, p);
    return [applyUpdates(p, updates), next] as const;
  });
  const [all, states] = [[start], [] as S[]];
  let [params, state] = [start, optimizer.init(start)];
  for (let i = 0; i < steps; i++) {
    [params, state] = await step(gradient(params, i), state, params);
    all.push(params);
    states.push(state);
  }
  await step.release();
  return { params: all, states };
}

/** `chain` of transformations whose states don't matter. */
export const inOrder = <P>(
  ...parts: GradientTransformation<P, unknown>[]
): GradientTransformation<P, unknown> => chain<P, typeof parts>(...parts);
