import { type Tensor, TensorError, treeLeaves, treeMap, zerosLike } from "@prior-art/tensor";
import { type GradientTransformation, stateless } from "./transformation.ts";

/** No update: parameters stay as they are. */
export const setToZero = <P>(): GradientTransformation<P, null> =>
  stateless((gradients) => treeMap(zerosLike, gradients));

type Parts<G> = {
  // biome-ignore lint/suspicious/noExplicitAny: each part keeps a state of its own type.
  readonly [K in keyof G]: GradientTransformation<G[K], any>;
};
type States<T> = {
  readonly [K in keyof T]: T[K] extends { init(params: never): infer S } ? S : never;
};

/**
 * A transformation for each group of parameters. `groups` picks them out of the parameters by name; every tensor
 * belongs to exactly one.
 * @throws TensorError when a tensor belongs to no group or to several.
 * @example
 * const optimizer = multiTransform(
 *   (params: CnnParams) => ({ body: params.blocks, head: params.head }),
 *   { body: setToZero(), head: adam({ learningRate: 1e-3 }) },
 * );
 */
export function multiTransform<P, G extends Record<string, unknown>, T extends Parts<G>>(
  groups: (params: P) => G,
  transformations: T & Parts<G>,
): GradientTransformation<P, States<T>> {
  const names = Object.keys(transformations);
  const requireOwners = (params: P): void => {
    // Marks, unlike parameters, are all different tensors.
    const marks = treeMap(zerosLike, params);
    const picked = names.flatMap((name) => treeLeaves(groups(marks)[name]));
    for (const mark of treeLeaves(marks)) {
      const owners = picked.filter((t) => t === mark).length;
      if (owners !== 1)
        throw new TensorError(
          "multiTransform",
          `a parameter ${mark.toString()} belongs to ${owners} of the groups ${names.join(", ")}`,
        );
    }
  };
  return {
    init: (params) => {
      requireOwners(params);
      const picked = groups(params);
      return Object.fromEntries(
        names.map((name) => [name, transformations[name]!.init(picked[name] as G[string])]),
      ) as States<T>;
    },
    update: (gradients, state, params) => {
      const [ofGradients, ofParams] = [groups(gradients), groups(params)];
      const marks = treeMap(zerosLike, params);
      const ofMarks = groups(marks);
      const updateOf = new Map<Tensor, Tensor>();
      const next = names.map((name) => {
        const [updates, after] = transformations[name]!.update(
          ofGradients[name] as G[string],
          (state as Record<string, unknown>)[name],
          ofParams[name] as G[string],
        );
        const results = treeLeaves(updates);
        treeLeaves(ofMarks[name]).forEach((mark, i) => {
          updateOf.set(mark, results[i]!);
        });
        return [name, after] as const;
      });
      return [treeMap((mark) => updateOf.get(mark)!, marks), Object.fromEntries(next) as States<T>];
    },
  };
}
