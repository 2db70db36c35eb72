import { concat, mean, reshape, type Tensor, TensorError, treeLeaves } from "@prior-art/tensor";
import { type GradientTransformation, unravel } from "@prior-art/toolkit/optim";
import {
  bulyan,
  type Faulty,
  geometricMedian,
  krum,
  median,
  multiKrum,
  requireWorkers,
  trimmedMean,
} from "./baselines.ts";
import { type FlagOptions, flagAggregate } from "./flag.ts";

export {
  type Attack,
  attacks,
  dropCoordinates,
  fallOfEmpires,
  littleIsEnough,
  signFlip,
  uniformNoise,
} from "./attacks.ts";
export { bulyan, type Faulty, geometricMedian, krum, median, multiKrum, trimmedMean } from "./baselines.ts";
export { type FlagOptions, type FlagResult, flagAggregate } from "./flag.ts";

/** One gradient `[parameters]` out of the workers' `[workers, parameters]`. */
export type Aggregate = (gradients: Tensor) => Tensor;

/** The mean: what training without faults uses. */
const average: Aggregate = (gradients) => {
  requireWorkers("mean", gradients);
  return mean(gradients, 0);
};

/** Aggregation rules by name, ready for `aggregateWorkers`; `faulty` is how many Byzantine workers they are built for. */
export const aggregators = {
  mean: (): Aggregate => average,
  median: (): Aggregate => median,
  trimmedMean:
    (faulty: Faulty): Aggregate =>
    (gradients) =>
      trimmedMean(gradients, faulty),
  krum:
    (faulty: Faulty): Aggregate =>
    (gradients) =>
      krum(gradients, faulty),
  multiKrum:
    (faulty: Faulty): Aggregate =>
    (gradients) =>
      multiKrum(gradients, faulty),
  bulyan:
    (faulty: Faulty): Aggregate =>
    (gradients) =>
      bulyan(gradients, faulty),
  geometricMedian:
    (iterations?: number): Aggregate =>
    (gradients) =>
      geometricMedian(gradients, iterations),
  flag:
    (options: FlagOptions = {}): Aggregate =>
    (gradients) =>
      flagAggregate(gradients, options).aggregate,
} as const;

/**
 * The first part of a distributed optimizer's chain: takes gradients that have the workers as an additional first axis,
 * `[workers, …parameter]` each, and passes one on. The rule sees all tensors as one vector. Only the flag aggregator leaves workers
 * with a NaN or an infinity out by itself; put `skipNonFinite` around chains with other rules.
 *
 * @throws TensorError, at a step, unless every gradient has its parameter's shape behind one common number of workers.
 * @example
 * const optimizer = chain(aggregateWorkers<MlpParams>(aggregators.multiKrum(3)), momentum({ learningRate: 0.1 }));
 * const gradients = vmap(grad(loss), { inAxes: [null, 0] })(params, batches); // a batch for each worker
 * const [updates, next] = optimizer.update(gradients, state, params);
 */
export const aggregateWorkers = <P>(aggregate: Aggregate): GradientTransformation<P, null> => ({
  init: () => null,
  update: (gradients, state, params) => {
    const [g, p] = [treeLeaves(gradients), treeLeaves(params)];
    const workers = g[0]?.shape[0];
    const fits = (t: Tensor, i: number): boolean => t.shape.join() === [workers, ...p[i]!.shape].join();
    if (workers === undefined || g.length !== p.length || !g.every(fits))
      throw new TensorError(
        "aggregateWorkers",
        `gradients need the workers as their first axis and the parameters' shapes behind it; got ${g.join(", ")} for ${p.join(", ")}`,
      );
    const rows = concat(
      g.map((t, i) => reshape(t, [workers, p[i]!.size])),
      1,
    );
    return [unravel(aggregate(rows), params), state];
  },
});
