import { add, TensorError, treeLeaves, treeMap } from "@prior-art/tensor";

/**
 * A gradient transformation: a pair of pure functions over trees of tensors, so that it works inside `jit`, `scan` and
 * `vmap`, and chains with others (the design of Optax).
 *
 * @example
 * const optimizer = chain(clipByGlobalNorm(1), adam({ learningRate: cosineDecay(1e-3, 1000) }));
 * let state = optimizer.init(params);
 * const [updates, next] = optimizer.update(gradients, state, params);
 * params = applyUpdates(params, updates);
 */
export interface GradientTransformation<P, S> {
  /** The state before the first step. */
  init(params: P): S;
  /** What to add to the parameters (or pass to the next transformation), and the next state. */
  update(gradients: P, state: S, params: P): readonly [updates: P, state: S];
}

// biome-ignore lint/suspicious/noExplicitAny: a chain's parts keep states of their own types.
type AnyTransformation<P> = GradientTransformation<P, any>;

/** The states of a chain's parts, in order. */
type ChainState<T extends readonly unknown[]> = {
  readonly [K in keyof T]: T[K] extends { init(params: never): infer S } ? S : never;
};

/** Transformations one after the other: each gets the updates of the one before as its gradients. */
export function chain<P, const T extends readonly AnyTransformation<P>[]>(
  ...parts: T
): GradientTransformation<P, ChainState<T>> {
  return {
    init: (params) => parts.map((part) => part.init(params)) as unknown as ChainState<T>,
    update: (gradients, state, params) => {
      let updates = gradients;
      const next = parts.map((part, i) => {
        const [out, after] = part.update(updates, (state as readonly unknown[])[i], params);
        updates = out;
        return after;
      });
      return [updates, next as unknown as ChainState<T>];
    },
  };
}

/** A transformation without state, from what it does to each tensor. */
export function stateless<P>(each: (gradients: P, params: P) => P): GradientTransformation<P, null> {
  return { init: () => null, update: (gradients, state, params) => [each(gradients, params), state] };
}

/** The parameters after a step. @throws TensorError when the trees differ. */
export const applyUpdates = <P>(params: P, updates: P): P => treeMap(add, params, updates);

/** Throws, naming `op`, unless gradients and parameters are trees of the same paths and shapes. */
export function requireSameTree(op: string, gradients: unknown, params: unknown): void {
  const [g, p] = [treeLeaves(gradients), treeLeaves(params)];
  if (g.length !== p.length || g.some((t, i) => t.shape.join() !== p[i]!.shape.join()))
    throw new TensorError(op, `the gradients (${g.join(", ")}) don't fit the parameters (${p.join(", ")})`);
}
