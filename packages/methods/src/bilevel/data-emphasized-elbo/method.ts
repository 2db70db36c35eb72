import {
  add,
  concat,
  cos,
  div,
  grad,
  jit,
  log,
  mean as meanOf,
  mul,
  neg,
  random,
  scalar,
  scan,
  slice,
  softplus,
  sub,
  type Tensor,
  take,
  tensor,
  treeLeaves,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import {
  applyUpdates,
  chain,
  clipByGlobalNorm,
  nesterov,
  requireLearningRate,
  shuffledBatches,
} from "@prior-art/toolkit/optim";
import { blockDivergence, type PriorBlock } from "./prior.ts";

export {
  type GaussianTerms,
  gaussianDivergence,
  isotropic,
  lowRankPlusDiagonal,
  optimalPriorVariance,
  type PriorBlock,
  type PriorCovariance,
  transferPrior,
} from "./prior.ts";
export {
  gaussianPosterior,
  type RandomFourierFit,
  type RandomFourierOptions,
  randomFourierGp,
} from "./randomFourierGp.ts";

/** How much the likelihood counts: `auto` is weights over examples, D/N; 1 is the ordinary bound. */
export type Emphasis = "auto" | number;

export interface ElboOptions<P> {
  /** Mean log-likelihood of the examples (of the batch) under these weights. */
  readonly logLik: (weights: P) => Tensor;
  /** ŵ. */
  readonly mean: P;
  /** σ = softplus(ρ), a scalar; one for all weights. */
  readonly rho: Tensor;
  /** Blocks that cover all weights. */
  readonly prior: readonly PriorBlock<P>[];
  readonly kappa: Emphasis;
  /** N. */
  readonly numData: number;
  readonly key: Tensor;
  /** Reparametrized samples of the weights, 1 by default. */
  readonly samples?: number;
}

export interface Elbo {
  /** `J = κ E_q[Σ log p(y|x, w)] − KL(q‖p)`, to be maximized. */
  readonly objective: Tensor;
  /** Of all N examples. */
  readonly expectedLogLik: Tensor;
  readonly kl: Tensor;
  /** λ of each block, by name. */
  readonly variances: Readonly<Record<string, Tensor>>;
}

const sizeOf = (params: unknown): number => treeLeaves(params).reduce((total, t) => total + t.size, 0);

/** κ as a number. @throws RangeError when it or N is not positive. */
export function emphasis(kappa: Emphasis, weights: number, numData: number): number {
  if (!(numData > 0)) throw new RangeError(`dataEmphasizedElbo: numData must be positive, got ${numData}`);
  if (kappa === "auto") return weights / numData;
  if (!(kappa > 0 && Number.isFinite(kappa)))
    throw new RangeError(`dataEmphasizedElbo: kappa must be positive or "auto", got ${kappa}`);
  return kappa;
}

/** `w = ŵ + σε` with noise of its own for each tensor. */
export function sampleWeights<P>(mean: P, sigma: Tensor, key: Tensor): P {
  let leaf = 0;
  return treeMap((t) => {
    const noise = random.normal(random.fold(key, leaf++), t.shape, { dtype: t.dtype as "float32" });
    return add(t, mul(sigma, noise));
  }, mean);
}

/**
 * The data-emphasized evidence lower bound of `q(w) = N(ŵ, σ²I)` under `p(w) = N(μ_p, λΣ_p)`. λ of each block is the best one
 * at the present ŵ and σ² unless it is fixed; the bound's derivative in it is zero there, so that it needs no gradient.
 *
 * @throws RangeError when κ or N is not positive. @throws TensorError when blocks do not cover the weights exactly once.
 */
export function dataEmphasizedElbo<P>({
  logLik,
  mean,
  rho,
  prior,
  kappa,
  numData,
  key,
  samples = 1,
}: ElboOptions<P>): Elbo {
  const weight = emphasis(kappa, sizeOf(mean), numData);
  const sigma = softplus(rho);
  const { kl, variances } = blockDivergence(mean, mul(sigma, sigma), prior);
  let total: Tensor | undefined;
  for (let s = 0; s < samples; s++) {
    const value = logLik(sampleWeights(mean, sigma, samples === 1 ? key : random.fold(key, s)));
    total = total ? add(total, value) : value;
  }
  const expectedLogLik = mul(numData / samples, total!);
  return { objective: sub(mul(weight, expectedLogLik), kl), expectedLogLik, kl, variances };
}

export interface LearnOptions<P, D> {
  /** Mean log-likelihood of a batch. */
  readonly logLik: (weights: P, batch: D) => Tensor;
  /** ŵ at the start, e.g. pre-trained weights with a new head. */
  readonly init: P;
  /** Tensors `[examples, …]`. */
  readonly data: D;
  readonly prior: readonly PriorBlock<P>[];
  /** Default `auto`. */
  readonly kappa?: Emphasis;
  readonly steps: number;
  /** Default 128; all examples when there are fewer. */
  readonly batchSize?: number;
  /** First rates of the cosine decay that are tried side by side. Default 0.1, 0.01, 0.001 and 0.0001. */
  readonly learningRates?: readonly number[];
  /** σ at the start. Default 0.01. */
  readonly initialSigma?: number;
  readonly key: Tensor;
}

export interface Learned<P> {
  readonly mean: P;
  readonly sigma: number;
  /** λ of each block, by name. */
  readonly variances: Readonly<Record<string, number>>;
  /** J by ten samples on all data; what the learning rate was chosen by. */
  readonly objective: number;
  readonly learningRate: number;
  /** J of every rate tried; NaN where training diverged. */
  readonly candidates: readonly { readonly learningRate: number; readonly objective: number }[];
  /** −J/(κN) of the batch before each step. */
  readonly history: Float32Array;
}

/**
 * Learns weights, their uncertainty and the prior's variances together on all data, without a validation set: SGD with Nesterov
 * momentum 0.9, cosine decay and gradients clipped to norm 1 on `−J/(κN)`, one sample a step. A few learning rates are run side by
 * side and the one with the largest J on the training data is kept.
 *
 * @throws RangeError for steps, rates or σ out of range. @throws Error when every learning rate diverged.
 *
 * @example
 * const { mean, variances } = await learnHyperparameters({
 *   logLik: (w, { x, labels }) => neg(crossEntropy(model.apply(w, x), labels)),
 *   init, data, steps: 500, key: random.key(0),
 *   prior: transferPrior("sp", { backbone: (p) => p.layers.slice(0, -1), head: (p) => p.layers.at(-1), pretrained: init }),
 * });
 */
export async function learnHyperparameters<P, D>({
  logLik,
  init,
  data,
  prior,
  kappa = "auto",
  steps,
  batchSize = 128,
  learningRates = [0.1, 0.01, 0.001, 0.0001],
  initialSigma = 0.01,
  key,
}: LearnOptions<P, D>): Promise<Learned<P>> {
  if (!(Number.isInteger(steps) && steps >= 1))
    throw new RangeError(`learnHyperparameters: steps must be a whole number from 1, got ${steps}`);
  if (learningRates.length === 0)
    throw new RangeError("learnHyperparameters: at least one learning rate is needed");
  for (const rate of learningRates) requireLearningRate("learnHyperparameters", rate);
  if (!(initialSigma > 0 && Number.isFinite(initialSigma)))
    throw new RangeError(`learnHyperparameters: initialSigma must be positive, got ${initialSigma}`);
  const sizes = treeLeaves(data).map((t) => t.shape[0]);
  const numData = sizes[0] ?? 0;
  if (numData < 1 || sizes.some((size) => size !== numData))
    throw new RangeError(
      `learnHyperparameters: the data must share a first axis of examples, got ${treeLeaves(data).join(", ")}`,
    );
  const weight = emphasis(kappa, sizeOf(init), numData);
  const batch = Math.min(batchSize, numData);
  const perEpoch = Math.floor(numData / batch);
  const [orderKey, noiseKey, finalKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
  type State = { readonly mean: P; readonly rho: Tensor };
  const optimizer = chain(clipByGlobalNorm<State>(1), nesterov<State>({ learningRate: 1, decay: 0.9 }));
  const elbo = (state: State, of: D, noise: Tensor, samples: number): Elbo =>
    dataEmphasizedElbo({
      logLik: (weights) => logLik(weights, of),
      mean: state.mean,
      rho: state.rho,
      prior,
      kappa: weight,
      numData,
      key: noise,
      samples,
    });
  const train = (rate: Tensor, from: P, examples: D, order: Tensor, noiseKeys: Tensor, lastKey: Tensor) => {
    const start: State = { mean: from, rho: scalar(Math.log(Math.expm1(initialSigma))) };
    const decay = mul(
      0.5,
      add(1, cos(mul(Math.PI / steps, tensor(Float32Array.from({ length: steps }, (_, t) => t))))),
    );
    const step = (
      [before, memory]: readonly [State, ReturnType<typeof optimizer.init>],
      [rows, noise, share]: readonly [Tensor, Tensor, Tensor],
    ) => {
      const of = perEpoch === 1 && batch === numData ? examples : treeMap((t) => take(t, rows), examples);
      const loss = (state: State): Tensor => div(neg(elbo(state, of, noise, 1).objective), weight * numData);
      const value = loss(before);
      const [updates, next] = optimizer.update(grad(loss)(before), memory, before);
      const size = mul(rate, share);
      return [
        [
          applyUpdates(
            before,
            treeMap((u) => mul(size, u), updates as State),
          ),
          next,
        ] as const,
        value,
      ] as const;
    };
    const [[trained], losses] = scan(
      step,
      [start, optimizer.init(start)] as const,
      [order, noiseKeys, decay] as const,
    );
    const { objective, variances } = elbo(trained, examples, lastKey, 10);
    return { trained, losses, objective, variances };
  };
  const epochs = Math.ceil(steps / perEpoch);
  const orders = random.keys(orderKey, epochs).map((k) => shuffledBatches(k, numData, batch));
  const order = slice(concat(orders), [0, steps]);
  const run = jit(vmap(train, { inAxes: [0, null, null, null, null, null] }));
  try {
    const result = await run(
      tensor(Float32Array.from(learningRates)),
      init,
      data,
      order,
      random.split(noiseKey, steps),
      finalKey,
    );
    const objectives = Array.from(await result.objective.data(), Number);
    const scores = objectives.map((value) => (Number.isFinite(value) ? value : Number.NEGATIVE_INFINITY));
    const best = scores.indexOf(Math.max(...scores));
    if (!Number.isFinite(objectives[best]!))
      throw new Error(
        `learnHyperparameters: training diverged at every learning rate (${learningRates.join(", ")})`,
      );
    const pick = (t: Tensor): Tensor => slice(t, best);
    const variances: Record<string, number> = {};
    for (const [name, values] of Object.entries(result.variances))
      variances[name] = Number((await values.data())[best]);
    const rho = Number((await result.trained.rho.data())[best]);
    return {
      mean: treeMap(pick, result.trained.mean),
      sigma: Math.log1p(Math.exp(rho)),
      variances,
      objective: objectives[best]!,
      learningRate: learningRates[best]!,
      candidates: learningRates.map((learningRate, i) => ({ learningRate, objective: objectives[i]! })),
      history: Float32Array.from(await pick(result.losses).data(), Number),
    };
  } finally {
    await run.release();
  }
}

/** log-likelihood of observations with Gaussian noise: mean over examples, `[examples]` each. */
export function gaussianLogLik(predictions: Tensor, targets: Tensor, noise: number): Tensor {
  const z = div(sub(targets, predictions), noise);
  const squares = mul(-0.5, meanOf(mul(z, z)));
  return sub(squares, add(log(scalar(noise, predictions.dtype as "float32")), 0.5 * Math.log(2 * Math.PI)));
}
