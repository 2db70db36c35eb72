import {
  type MDP,
  occupancyMeasure,
  type Policy,
  policyEvaluation,
  softmaxPolicy,
} from "@prior-art/toolkit/mdp";

/** `χ²(p ‖ q) = Σ p²/q − 1`; infinite where q is 0 and p is not. @throws RangeError when lengths differ. */
export function chi2(p: ArrayLike<number>, q: ArrayLike<number>): number {
  requireSame("chi2", p, q);
  let sum = 0;
  for (let i = 0; i < p.length; i++) if (p[i]! > 0) sum += p[i]! ** 2 / q[i]!;
  return sum - 1;
}

/** `KL(p ‖ q)`, nats. @throws RangeError when lengths differ. */
export function kl(p: ArrayLike<number>, q: ArrayLike<number>): number {
  requireSame("kl", p, q);
  let sum = 0;
  for (let i = 0; i < p.length; i++) if (p[i]! > 0) sum += p[i]! * Math.log(p[i]! / q[i]!);
  return sum;
}

const expectation = (mu: ArrayLike<number>, f: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < mu.length; i++) sum += mu[i]! * f[i]!;
  return sum;
};

/** How a proxy goes with the true reward under the base policy's occupancy. */
export interface ProxyStatistics {
  /** r, the correlation. */
  readonly correlation: number;
  /** Standard deviations of the true reward and of the proxy. */
  readonly sigma: number;
  readonly sigmaProxy: number;
  /** `λ* = σ_proxy √(1 − r²)`, the penalty weight that the bound asks for. */
  readonly lambda: number;
}

/**
 * Correlation and spread of two rewards under an occupancy measure (the paper's definition of a correlated proxy).
 * @param mu `[states, actions]`, adds up to 1 @param reward the true one, `[states, actions]`
 * @throws RangeError when lengths differ or a reward has no spread.
 */
export function proxyStatistics(
  mu: ArrayLike<number>,
  reward: ArrayLike<number>,
  proxy: ArrayLike<number>,
): ProxyStatistics {
  requireSame("proxyStatistics", mu, reward);
  requireSame("proxyStatistics", mu, proxy);
  const [mean, meanProxy] = [expectation(mu, reward), expectation(mu, proxy)];
  let [variance, varianceProxy, covariance] = [0, 0, 0];
  for (let i = 0; i < mu.length; i++) {
    const [d, e] = [reward[i]! - mean, proxy[i]! - meanProxy];
    variance += mu[i]! * d * d;
    varianceProxy += mu[i]! * e * e;
    covariance += mu[i]! * d * e;
  }
  // A constant has what rounding leaves of its mean.
  if (!(variance > 1e-24 * mean ** 2 && varianceProxy > 1e-24 * meanProxy ** 2))
    throw new RangeError("proxyStatistics: a reward is constant under the base policy");
  const [sigma, sigmaProxy] = [Math.sqrt(variance), Math.sqrt(varianceProxy)];
  // Rounding may carry a perfect correlation beyond 1.
  const correlation = Math.max(-1, Math.min(1, covariance / (sigma * sigmaProxy)));
  return { correlation, sigma, sigmaProxy, lambda: sigmaProxy * Math.sqrt(1 - correlation ** 2) };
}

export interface HackingBound {
  /** Improvement of the true return over the base policy's, in its standard deviations. */
  readonly improvement: number;
  /** What the theorem guarantees of it: `(improvement by the proxy − √((1 − r²) χ²)) / r`. */
  readonly bound: number;
}

/**
 * The theorem's two sides for a policy's occupancy, from that of the base policy.
 * @throws RangeError unless the proxy is positively correlated under the base policy.
 */
export function hackingBound(
  mu: ArrayLike<number>,
  base: ArrayLike<number>,
  reward: ArrayLike<number>,
  proxy: ArrayLike<number>,
): HackingBound {
  const { correlation: r, sigma, sigmaProxy } = proxyStatistics(base, reward, proxy);
  if (!(r > 0)) throw new RangeError(`hackingBound: a correlation of ${r} makes no correlated proxy`);
  const byProxy = (expectation(mu, proxy) - expectation(base, proxy)) / sigmaProxy;
  return {
    improvement: (expectation(mu, reward) - expectation(base, reward)) / sigma,
    bound: (byProxy - Math.sqrt((1 - r * r) * Math.max(0, chi2(mu, base)))) / r,
  };
}

/** Which divergence of occupancies is penalized: `√χ²` (the paper's), `χ²`, or KL. */
export type OccupancyDivergence = "sqrtChi2" | "chi2" | "kl";

export interface OrpoOptions {
  /** λ; 0 leaves the proxy alone. */
  readonly lambda: number;
  /** `"sqrtChi2"` by default. */
  readonly divergence?: OccupancyDivergence;
  /** Updates, 400 by default. */
  readonly iterations?: number;
  /** Of the natural policy gradient, 0.05 by default. */
  readonly learningRate?: number;
}

export interface RegularizedPolicy {
  readonly policy: Policy;
  /** `[states, actions]` */
  readonly occupancy: Float64Array;
}

/** The penalty and its derivative by the occupancy. */
function penalty(
  divergence: OccupancyDivergence,
  mu: Float64Array,
  base: Float64Array,
): { readonly value: number; readonly slope: Float64Array } {
  if (divergence === "kl")
    return { value: kl(mu, base), slope: mu.map((m, i) => (m > 0 ? Math.log(m / base[i]!) + 1 : 0)) };
  const square = chi2(mu, base);
  const ratio = mu.map((m, i) => m / base[i]!);
  if (divergence === "chi2") return { value: square, slope: ratio.map((x) => 2 * x) };
  const root = Math.sqrt(Math.max(square, 1e-4));
  return { value: Math.sqrt(Math.max(square, 0)), slope: ratio.map((x) => x / root) };
}

/**
 * Occupancy-regularized policy optimization with everything exact: maximizes `E_μ[proxy] − λ D(μ ‖ μ_base)` by natural policy
 * gradient from the base policy, on the reward `proxy − λ ∂D/∂μ`; the best iterate is returned.
 * @param mdp its reward is the proxy
 * @param base the base policy, all probabilities positive
 * @throws RangeError for a negative λ.
 */
export function orpo(mdp: MDP, base: Policy, options: OrpoOptions): RegularizedPolicy {
  const { lambda, divergence = "sqrtChi2", iterations = 400, learningRate = 0.05 } = options;
  if (!(lambda >= 0)) throw new RangeError(`orpo: λ is not negative, got ${lambda}`);
  const baseOccupancy = occupancyMeasure(mdp, base);
  const logits = base.map(Math.log);
  let best: RegularizedPolicy = { policy: base, occupancy: baseOccupancy };
  let bestObjective = Number.NEGATIVE_INFINITY;
  for (let iteration = 0; iteration <= iterations; iteration++) {
    const policy = softmaxPolicy(logits, mdp.actions);
    const occupancy = occupancyMeasure(mdp, policy);
    const { value, slope } = penalty(divergence, occupancy, baseOccupancy);
    const objective = expectation(occupancy, mdp.reward) - lambda * value;
    if (objective > bestObjective) [bestObjective, best] = [objective, { policy, occupancy }];
    const reward = mdp.reward.map((r, i) => r - lambda * slope[i]!);
    const { q, values } = policyEvaluation({ ...mdp, reward }, policy);
    for (let i = 0; i < logits.length; i++)
      logits[i]! += learningRate * (q[i]! - values[Math.floor(i / mdp.actions)]!);
  }
  return best;
}

/**
 * The usual mitigation: the optimum of `E Σ γᵗ (proxy − λ KL(π(·|s) ‖ base(·|s)))`, by soft value iteration
 * `V = λ log Σ base exp(Q/λ)`.
 * @param mdp its reward is the proxy
 * @throws RangeError unless λ > 0.
 */
export function actionKl(mdp: MDP, base: Policy, lambda: number): RegularizedPolicy {
  if (!(lambda > 0)) throw new RangeError(`actionKl: λ is positive, got ${lambda}`);
  const { states, actions, transition, reward, discount } = mdp;
  let values = new Float64Array(states);
  const logits = new Float64Array(states * actions);
  for (let change = 1, sweep = 0; change > 1e-10 && sweep < 10_000; sweep++) {
    for (let i = 0; i < logits.length; i++) {
      let expected = 0;
      for (let s = 0; s < states; s++) expected += transition[i * states + s]! * values[s]!;
      logits[i] = Math.log(base[i]!) + (reward[i]! + discount * expected) / lambda;
    }
    const next = Float64Array.from({ length: states }, (_, s) => {
      const row = logits.subarray(s * actions, (s + 1) * actions);
      const top = Math.max(...row);
      return lambda * (top + Math.log(row.reduce((sum, h) => sum + Math.exp(h - top), 0)));
    });
    change = next.reduce((largest, v, s) => Math.max(largest, Math.abs(v - values[s]!)), 0);
    values = next;
  }
  const policy = softmaxPolicy(logits, actions);
  return { policy, occupancy: occupancyMeasure(mdp, policy) };
}

function requireSame(name: string, p: ArrayLike<number>, q: ArrayLike<number>): void {
  if (p.length !== q.length) throw new RangeError(`${name}: ${p.length} and ${q.length} entries don't fit`);
}
