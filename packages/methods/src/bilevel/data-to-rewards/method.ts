import {
  add,
  div,
  exp,
  grad,
  greater,
  hvp,
  jit,
  linalg,
  matmul,
  mean,
  min,
  mul,
  neg,
  scan,
  slice,
  stopGradient,
  sub,
  sum,
  type Tensor,
  TensorError,
  tensor,
  transpose,
  treeMap,
  tril,
  where,
} from "@prior-art/tensor";
import { choleskyFactor, choleskySolve, identity, type Matrix, matrix } from "@prior-art/toolkit/linalg";
import { adam, applyUpdates, ravel, requireLearningRate, unravel } from "@prior-art/toolkit/optim";
import { type Policy, quadraticForm } from "./policies.ts";
import { type PolicyData, requireData, trainPolicies } from "./training.ts";

export { categoricalPolicy, gaussianPolicy, type Policy } from "./policies.ts";
export { type PolicyData, type PolicyTraining, trainPolicies } from "./training.ts";

/** How good outputs `[samples, batch, size]` are for targets `[batch, size]`, `[samples, batch]`. */
export type Reward = (outputs: Tensor, target: Tensor) => Tensor;

/** `r_U(ŷ, y) = −(ŷ − y)ᵀU(ŷ − y)`; on one-hot vectors ½I gives −1 for a wrong class and 0 for the right one. */
export const mahalanobisReward =
  (u: Tensor): Reward =>
  (outputs, target) =>
    neg(quadraticForm(sub(outputs, target), u));

/**
 * What REINFORCE multiplies by: rewards as they are, less the smallest of the input's samples, less the mean of its other
 * samples (which keeps the gradient unbiased), or `e^{γr}`.
 */
export type RewardTransform = "none" | "normalize" | "leaveOneOut" | { readonly rbf: number };

export interface PolicyGradientOptions {
  readonly dist: Policy;
  /** `[batch, size]` */
  readonly target: Tensor;
  readonly reward: Reward;
  /** Samples for each input, G. Default 5. */
  readonly samples?: number;
  /** λ. Default 0.01. */
  readonly entropyWeight?: number;
  /** Default `none`. */
  readonly transform?: RewardTransform;
  /** Differentiates the reward through the samples instead of REINFORCE. Default false. */
  readonly reparametrized?: boolean;
  readonly key: Tensor;
}

/**
 * A loss whose gradient is a sample of that of `−J`, `J = E[r] + λ H`: `−log p(ŷ) r̃` over samples that carry no gradient, or
 * `−r` through reparametrized ones; the entropy is exact.
 *
 * @throws RangeError for fewer samples than the transform needs, or a negative λ. @throws TensorError when the
 *   policy can't be reparametrized, or a transform is asked for that only means something for REINFORCE.
 */
export function policyGradientLoss({
  dist,
  target,
  reward,
  samples = 5,
  entropyWeight = 0.01,
  transform = "none",
  reparametrized = false,
  key,
}: PolicyGradientOptions): Tensor {
  const least = transform === "leaveOneOut" ? 2 : 1;
  if (!(Number.isInteger(samples) && samples >= least))
    throw new RangeError(`policyGradientLoss: samples must be a whole number from ${least}, got ${samples}`);
  requireEntropyWeight("policyGradientLoss", entropyWeight, 0);
  const outputs = dist.sample(key, samples);
  const bonus = mul(entropyWeight, mean(dist.entropy()));
  if (reparametrized) {
    if (!dist.reparametrized)
      throw new TensorError("policyGradientLoss", "this policy's samples can't be differentiated");
    if (transform !== "none")
      throw new TensorError(
        "policyGradientLoss",
        "transforms are for REINFORCE, not for reparametrized samples",
      );
    return neg(add(mean(reward(outputs, target)), bonus));
  }
  const drawn = stopGradient(outputs);
  const weights = stopGradient(transformed(reward(drawn, target), transform));
  return neg(add(mean(mul(dist.logProb(drawn), weights)), bonus));
}

function transformed(rewards: Tensor, transform: RewardTransform): Tensor {
  if (transform === "none") return rewards;
  if (transform === "normalize") return sub(rewards, min(rewards, 0, true));
  if (transform === "leaveOneOut") {
    const samples = rewards.shape[0]!;
    const others = div(sub(sum(rewards, 0, true), rewards), samples - 1);
    return sub(rewards, others);
  }
  return exp(mul(transform.rbf, rewards));
}

const requireEntropyWeight = (op: string, lambda: number, least: number): void => {
  if (!(lambda >= least && Number.isFinite(lambda)))
    throw new RangeError(
      `${op}: the entropy weight must be ${least === 0 ? "at least 0" : "positive"}, got ${lambda}`,
    );
};

/** Which matrices U may be. */
export type RewardStructure = "full" | "diag" | "isotropic";

/**
 * The U whose policy gradient ends at the maximum-likelihood Gaussian: `U* = (λ/2)Σ⁻¹`; restricted to multiples of I,
 * `u* = λn/(2 tr Σ)`.
 *
 * @param covariance Σ of the data around the policy's mean, `[size, size]`.
 * @throws RangeError when λ is not positive or Σ is not square and positive definite.
 */
export function optimalGaussianReward(
  covariance: Matrix,
  lambda: number,
  structure: RewardStructure = "full",
): Matrix {
  const { rows: size, columns, values } = covariance;
  if (size !== columns)
    throw new RangeError(`optimalGaussianReward: the covariance is ${size} × ${columns}, not square`);
  if (!(lambda > 0 && Number.isFinite(lambda)))
    throw new RangeError(`optimalGaussianReward: the entropy weight must be positive, got ${lambda}`);
  const diagonal = Array.from({ length: size }, (_, i) => values[i * size + i]!);
  if (!diagonal.every((value) => value > 0 && Number.isFinite(value)))
    throw new RangeError(`optimalGaussianReward: variances must be positive, got ${diagonal.join(", ")}`);
  if (structure === "isotropic")
    return identity(size, (lambda * size) / (2 * diagonal.reduce((a, b) => a + b, 0)));
  const u = matrix(size, size);
  const factor = structure === "full" ? choleskyFactor(covariance) : undefined;
  for (let i = 0; i < size; i++) {
    if (!factor) {
      u.values[i * size + i] = lambda / (2 * diagonal[i]!);
      continue;
    }
    const unit = Float64Array.from({ length: size }, (_, j) => (i === j ? 1 : 0));
    u.values.set(
      choleskySolve(factor, unit).map((value) => (lambda / 2) * value),
      i * size,
    );
  }
  return u;
}

/** Covariance of residuals `[examples, size]` around zero, with 1e-6 on its diagonal. */
export function residualCovariance(residuals: Float64Array, size: number): Matrix {
  const count = residuals.length / size;
  const covariance = identity(size, 1e-6);
  for (let k = 0; k < count; k++)
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++)
        covariance.values[i * size + j]! += (residuals[k * size + i]! * residuals[k * size + j]!) / count;
  return covariance;
}

export interface BilevelRewardOptions<P> {
  /** The policy for inputs `[batch, …]`. */
  readonly policy: (params: P, x: Tensor) => Policy;
  /** The policy's means `[batch, size]`, whose residuals the heuristic takes the covariance of. */
  readonly mean: (params: P, x: Tensor) => Tensor;
  readonly init: P;
  readonly data: PolicyData;
  /** `heuristic`: U from the residuals of a preliminary likelihood fit. `implicit`: gradient ascent on U. */
  readonly solver: "heuristic" | "implicit";
  /** λ, positive. */
  readonly lambda: number;
  /** Of the heuristic's U. Default full. */
  readonly structure?: RewardStructure;
  /** Heuristic: Adam's steps for the preliminary fit, and again for the policy gradient. Default 1,000. */
  readonly steps?: number;
  /** Heuristic: Adam's rate. Implicit: that of the inner steps. Default 0.02. */
  readonly learningRate?: number;
  /** Implicit: outer steps, inner steps between them, and the outer rate. Default 300, 20, 0.02. */
  readonly outerSteps?: number;
  readonly innerSteps?: number;
  readonly outerLearningRate?: number;
  /** Implicit: what is added to the Hessian's diagonal. Default 1e-3. */
  readonly damping?: number;
  /** Implicit: conjugate-gradient iterations. Default 10. */
  readonly iterations?: number;
  readonly key: Tensor;
}

export interface BilevelReward<P> {
  readonly params: P;
  readonly u: Matrix;
  /** U after each outer step; one for the heuristic. */
  readonly history: readonly Matrix[];
}

/**
 * Chooses U so that entropy-regularized policy gradient on `r_U` ends at the model of highest data likelihood.
 *
 * The heuristic fits a preliminary model by likelihood, sets `U = (λ/2)Σ̂⁻¹` from its residuals and runs the policy gradient with
 * reparametrized samples. The implicit solver keeps the policy near the optimum of the exact J by a few warm-started inner
 * steps and moves `U = LLᵀ` along the implicit gradient of the mean log-likelihood ℓ: v solves
 * `−∇²_θθ J v = ∇_θ ℓ` by damped conjugate gradients, and the gradient is that of `⟨∇_θ J, v⟩` in L.
 *
 * @throws RangeError for data, rates or weights out of range. @throws Error, naming U, when the inner problem diverges.
 */
export async function bilevelReward<P>(options: BilevelRewardOptions<P>): Promise<BilevelReward<P>> {
  requireData("bilevelReward", options.data);
  requireEntropyWeight("bilevelReward", options.lambda, Number.MIN_VALUE);
  const { learningRate = 0.02, outerLearningRate = 0.02 } = options;
  requireLearningRate("bilevelReward", learningRate);
  requireLearningRate("bilevelReward", outerLearningRate);
  return options.solver === "heuristic" ? solveHeuristically(options) : solveImplicitly(options);
}

async function solveHeuristically<P>(options: BilevelRewardOptions<P>): Promise<BilevelReward<P>> {
  const { policy, data, lambda, structure = "full", steps = 1000, learningRate = 0.02, key } = options;
  const training = { init: options.init, data, steps, learningRates: [learningRate], key };
  const only = (stack: P): P => treeMap((t) => slice(t, 0), stack);
  const preliminary = only(
    await trainPolicies({ ...training, loss: (p, { x, y }) => neg(mean(policy(p, x).logProb(y))) }),
  );
  const gap = sub(data.y, options.mean(preliminary, data.x));
  const residuals = Float64Array.from(await gap.data(), Number);
  requireFiniteReward("the residuals of the preliminary fit", residuals);
  const u = optimalGaussianReward(residualCovariance(residuals, data.y.shape[1]!), lambda, structure);
  const reward = mahalanobisReward(asTensor(u));
  const params = only(
    await trainPolicies({
      ...training,
      loss: (p, { x, y }, noise) =>
        policyGradientLoss({
          dist: policy(p, x),
          target: y,
          reward,
          entropyWeight: lambda,
          reparametrized: true,
          key: noise,
        }),
    }),
  );
  return { params, u, history: [u] };
}

async function solveImplicitly<P>(options: BilevelRewardOptions<P>): Promise<BilevelReward<P>> {
  const { policy, init, data, lambda, learningRate = 0.02, outerLearningRate = 0.02 } = options;
  const { outerSteps = 300, innerSteps = 20, damping = 1e-3, iterations = 10 } = options;
  for (const [name, value] of Object.entries({ outerSteps, innerSteps, iterations }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`bilevelReward: ${name} must be a whole number from 1, got ${value}`);
  const size = data.y.shape[1]!;
  const inner = adam<P>({ learningRate });
  const outer = adam<Tensor>({ learningRate: outerLearningRate });
  const start = asTensor(identity(size));
  const run = jit((from: P, { x, y }: PolicyData, first: Tensor) => {
    const objective = (p: P, root: Tensor): Tensor => {
      const dist = policy(p, x);
      const reward = mean(dist.expectedReward(matmul(root, transpose(root)), y));
      return add(reward, mul(lambda, mean(dist.entropy())));
    };
    const logLik = (p: P): Tensor => mean(policy(p, x).logProb(y));
    const innerStep =
      (root: Tensor) =>
      ([p, memory]: readonly [P, ReturnType<typeof inner.init>]) => {
        const [updates, next] = inner.update(grad((q: P) => neg(objective(q, root)))(p), memory, p);
        return [[applyUpdates(p, updates), next] as const, null] as const;
      };
    const outerStep = ([p, memory, root, outerMemory]: readonly [
      P,
      ReturnType<typeof inner.init>,
      Tensor,
      ReturnType<typeof outer.init>,
    ]) => {
      const [[near, nextMemory]] = scan(innerStep(root), [p, memory] as const, null, { length: innerSteps });
      const hypergradient = implicitGradient(near, root, { objective, logLik, damping, iterations });
      const [update, nextOuter] = outer.update(neg(hypergradient), outerMemory, root);
      const moved = add(root, update);
      return [[near, nextMemory, moved, nextOuter] as const, matmul(moved, transpose(moved))] as const;
    };
    const [[params], us] = scan(
      outerStep,
      [from, inner.init(from), first, outer.init(first)] as const,
      null,
      { length: outerSteps },
    );
    return { params, us };
  });
  try {
    const { params, us } = await run(init, data, start);
    const values = Float64Array.from(await us.data(), Number);
    const history = Array.from({ length: outerSteps }, (_, t) =>
      matrix(size, size, values.slice(t * size * size, (t + 1) * size * size)),
    );
    for (const [t, { values: u }] of history.entries())
      requireFiniteReward(`U in outer step ${t + 1}, after ${history[t - 1]?.values ?? "I"},`, u);
    return { params, u: history.at(-1)!, history };
  } finally {
    await run.release();
  }
}

export interface ImplicitOptions<P> {
  /** J of parameters and reward parameters. */
  readonly objective: (params: P, reward: Tensor) => Tensor;
  /** ℓ of parameters. */
  readonly logLik: (params: P) => Tensor;
  readonly damping: number;
  readonly iterations: number;
}

/**
 * `dℓ(θ*(φ))/dφ = ∇_φ ⟨∇_θ J, v⟩` with `(−∇²_θθ J + damping I) v = ∇_θ ℓ`, by conjugate gradients, at parameters θ that
 * maximize J.
 */
export function implicitGradient<P>(
  params: P,
  reward: Tensor,
  { objective, logLik, damping, iterations }: ImplicitOptions<P>,
): Tensor {
  const theta = ravel(params);
  const inner = (vector: Tensor, phi: Tensor): Tensor => objective(unravel(vector, params), phi);
  const right = grad((vector: Tensor) => logLik(unravel(vector, params)))(theta);
  const apply = (v: Tensor): Tensor =>
    add(
      hvp((vector: Tensor) => neg(inner(vector, reward)), theta, v),
      mul(damping, v),
    );
  const ratio = (a: Tensor, b: Tensor): Tensor => where(greater(b, 1e-30), div(a, add(b, 1e-38)), mul(0, a));
  let v = mul(0, right);
  let residual = right;
  let direction = right;
  let squares = sum(mul(residual, residual));
  for (let k = 0; k < Math.min(iterations, theta.size); k++) {
    const image = apply(direction);
    const size = ratio(squares, sum(mul(direction, image)));
    v = add(v, mul(size, direction));
    residual = sub(residual, mul(size, image));
    const next = sum(mul(residual, residual));
    direction = add(residual, mul(ratio(next, squares), direction));
    squares = next;
  }
  const solved = stopGradient(v);
  return grad((phi: Tensor) =>
    sum(mul(grad((vector: Tensor) => inner(vector, phi))(stopGradient(theta)), solved)),
  )(reward);
}

/** Parameters of `N(m, LLᵀ)`'s factor, whose diagonal is the exponential of `free`'s. */
export function factorOf(free: Tensor): Tensor {
  return add(tril(free, -1), linalg.diag(exp(linalg.diagonal(free))));
}

const asTensor = (u: Matrix): Tensor => tensor(Float32Array.from(u.values), { shape: [u.rows, u.columns] });

function requireFiniteReward(what: string, values: Float64Array): void {
  const bad = values.find((value) => !Number.isFinite(value));
  if (bad !== undefined) throw new Error(`bilevelReward: training diverged; ${what} is ${bad}`);
}
