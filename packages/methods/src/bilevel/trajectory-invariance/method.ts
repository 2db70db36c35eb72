/** Hyperparameters of a run, the effective learning rate γ = ηλ, and curves by step: loss, gradient norm and the like. */
export interface Run {
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Values at the same steps for all runs. */
  readonly curve: readonly number[];
}

/** γ = ηλ, what decides where a run goes once it has been trained for long. */
export const effectiveRate = ({
  learningRate,
  weightDecay,
}: Pick<Run, "learningRate" | "weightDecay">): number => learningRate * weightDecay;

/**
 * Runs for all combinations of rates η and decays λ.
 *
 * @param train Trains all of them, e.g. side by side, and gives a curve each.
 * @throws RangeError when a rate is not positive, a decay is negative, there are none, or curves are missing or differ in length.
 */
export async function trajectoryGrid({
  etas,
  lambdas,
  train,
}: {
  readonly etas: readonly number[];
  /** The same for all rates, or by rate. */
  readonly lambdas: readonly number[] | ((eta: number) => readonly number[]);
  readonly train: (
    grid: readonly Omit<Run, "curve">[],
  ) => Promise<readonly (readonly number[])[]> | readonly (readonly number[])[];
}): Promise<Run[]> {
  const grid = etas.flatMap((learningRate) =>
    (typeof lambdas === "function" ? lambdas(learningRate) : lambdas).map((weightDecay) => ({
      learningRate,
      weightDecay,
    })),
  );
  if (grid.length === 0) throw new RangeError("trajectoryGrid: the grid is empty");
  for (const { learningRate, weightDecay } of grid) requirePair("trajectoryGrid", learningRate, weightDecay);
  const curves = await train(grid);
  if (curves.length !== grid.length || curves.some((curve) => curve.length !== curves[0]!.length))
    throw new RangeError(
      `trajectoryGrid: ${grid.length} runs need as many curves of one length, got ${curves.map((curve) => curve.length).join(", ")}`,
    );
  return grid.map((pair, i) => ({ ...pair, curve: curves[i]! }));
}

function requirePair(op: string, learningRate: number, weightDecay: number): void {
  if (!(learningRate > 0 && Number.isFinite(learningRate)))
    throw new RangeError(`${op}: the learning rate must be positive and finite, got ${learningRate}`);
  if (!(weightDecay >= 0 && Number.isFinite(weightDecay)))
    throw new RangeError(`${op}: the weight decay must be at least 0, got ${weightDecay}`);
}

/** Mean absolute difference of two curves over a window of their entries. */
export function curveDistance(
  a: readonly number[],
  b: readonly number[],
  [from, to]: readonly [from: number, to: number] = [0, a.length],
): number {
  if (a.length !== b.length || !(from >= 0 && from < to && to <= a.length))
    throw new RangeError(
      `curveDistance: curves of ${a.length} and ${b.length} have no window from ${from} to ${to}`,
    );
  let total = 0;
  for (let t = from; t < to; t++) total += Math.abs(a[t]! - b[t]!);
  return total / (to - from);
}

export interface InvarianceScores {
  /** S_η: mean distance of runs of one η and different γ, over that of runs of one γ and different η; small when η decides. */
  readonly eta: number;
  /** S_γ, its reciprocal: small when γ decides. */
  readonly gamma: number;
  /** The two mean distances. */
  readonly sameEta: number;
  readonly sameGamma: number;
}

const same = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-6 * Math.max(Math.abs(a), Math.abs(b));

/**
 * How much closer curves are that share γ than curves that share η, over a window of their entries: all pairs of the runs, however
 * far apart their γ or η. For neighbours, see `neighbourScores`.
 *
 * @throws RangeError when the grid has no two runs of the same γ, or of the same η, or the window does not fit.
 */
export function invarianceScores(
  runs: readonly Run[],
  window?: readonly [from: number, to: number],
): InvarianceScores {
  const distances = { eta: [] as number[], gamma: [] as number[] };
  runs.forEach((a, i) => {
    for (const b of runs.slice(i + 1)) {
      const [sameEta, sameGamma] = [
        same(a.learningRate, b.learningRate),
        same(effectiveRate(a), effectiveRate(b)),
      ];
      if (sameEta === sameGamma) continue;
      distances[sameEta ? "eta" : "gamma"].push(curveDistance(a.curve, b.curve, window));
    }
  });
  if (distances.eta.length === 0 || distances.gamma.length === 0)
    throw new RangeError(
      "invarianceScores: runs that share a learning rate and runs that share its product with the decay are needed",
    );
  const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const [sameEta, sameGamma] = [average(distances.eta), average(distances.gamma)];
  return { eta: sameEta / sameGamma, gamma: sameGamma / sameEta, sameEta, sameGamma };
}

/**
 * Scores of the runs of each two neighbouring γ (`"gamma"`), or of each two neighbouring η (`"eta"`), from the smallest on: does what
 * they share decide more than one step of the grid in the other?
 *
 * @throws RangeError as `invarianceScores`.
 */
export function neighbourScores(
  runs: readonly Run[],
  by: "gamma" | "eta",
  window?: readonly [from: number, to: number],
): InvarianceScores[] {
  const valueOf = (run: Run): number => (by === "gamma" ? effectiveRate(run) : run.learningRate);
  const values = runs
    .map(valueOf)
    .sort((a, b) => a - b)
    .filter((value, i, sorted) => i === 0 || !same(value, sorted[i - 1]!));
  return values.slice(1).map((upper, k) =>
    invarianceScores(
      runs.filter((run) => [values[k]!, upper].some((value) => same(value, valueOf(run)))),
      window,
    ),
  );
}

/**
 * For each two neighbouring γ, the entry from which on, in windows of `wide` entries, runs that share γ are closer than runs that share
 * η; the curves' length where that never happens.
 *
 * @throws RangeError as `invarianceScores`.
 */
export function crossovers(runs: readonly Run[], wide: number): number[] {
  const length = runs[0]?.curve.length ?? 0;
  const windows = Array.from({ length: Math.floor(length / wide) }, (_, w) =>
    neighbourScores(runs, "gamma", [w * wide, (w + 1) * wide]),
  );
  const last = windows.length - 1;
  return (windows[0] ?? []).map((_, k) => {
    const reversed = windows.findLastIndex((scores) => !(scores[k]!.gamma < 1));
    return reversed === last ? length : (reversed + 1) * wide;
  });
}

export interface EquilibriumOptions {
  /** η. */
  readonly learningRate: number;
  /** λ, multiplied by the rate in each step. */
  readonly weightDecay: number;
  /** Root mean square of an update's entries before the rate, c. */
  readonly updateRms: number;
  /** Entries of the weights, d. */
  readonly dim: number;
  /** ‖w₀‖. */
  readonly initialNorm: number;
  /**
   * β₁ of updates that are exponential averages of unrelated gradients: what they add up to grows `(1 + β₁)/(1 − β₁)` times as fast
   * as if they were unrelated themselves. Default 0.
   */
  readonly momentum?: number;
}

export interface Equilibrium {
  /** ‖w_t‖ after t steps. */
  norm(t: number): number;
  /** Length of an update over ‖w_t‖, an angle for small ones. */
  angularStep(t: number): number;
  /** The limits, without bound and 0 where there is no decay. */
  readonly limitNorm: number;
  readonly limitAngularStep: number;
  /** Steps in which the distance from the limit of ‖w‖² falls to 1/e, about 1/(2γ). */
  readonly steps: number;
}

/**
 * The norm of weights whose loss does not depend on their scale, so that updates are orthogonal to them:
 * `‖w_{t+1}‖² = (1 − γ)² ‖w_t‖² + κ η² c² d`, `κ = (1 + β₁)/(1 − β₁)`. Its limit is `κ η² c² d/(1 − (1 − γ)²)`, at which an
 * update turns the weights by `√((2γ − γ²)/κ)`, a function of γ alone.
 *
 * @throws RangeError for options out of range, or γ > 1.
 */
export function predictEquilibrium({
  learningRate,
  weightDecay,
  updateRms,
  dim,
  initialNorm,
  momentum = 0,
}: EquilibriumOptions): Equilibrium {
  requirePair("predictEquilibrium", learningRate, weightDecay);
  if (!(updateRms > 0 && dim > 0 && initialNorm >= 0))
    throw new RangeError(
      `predictEquilibrium: updateRms and dim must be positive and initialNorm at least 0, got ${updateRms}, ${dim} and ${initialNorm}`,
    );
  if (!(momentum >= 0 && momentum < 1))
    throw new RangeError(`predictEquilibrium: momentum must be from 0 to below 1, got ${momentum}`);
  const gamma = learningRate * weightDecay;
  if (!(gamma <= 1))
    throw new RangeError(`predictEquilibrium: the rate times the decay must be at most 1, got ${gamma}`);
  const update = learningRate * updateRms * Math.sqrt(dim);
  const growth = (update ** 2 * (1 + momentum)) / (1 - momentum);
  const kept = (1 - gamma) ** 2;
  const norm = (t: number): number => {
    const start = initialNorm ** 2;
    if (gamma === 0) return Math.sqrt(start + t * growth);
    const limit = growth / (1 - kept);
    return Math.sqrt(limit + kept ** t * (start - limit));
  };
  const limitNorm = gamma === 0 ? Number.POSITIVE_INFINITY : Math.sqrt(growth / (1 - kept));
  return {
    norm,
    angularStep: (t) => update / norm(t),
    limitNorm,
    limitAngularStep: update / limitNorm,
    steps: gamma === 0 ? Number.POSITIVE_INFINITY : -1 / Math.log(kept),
  };
}

/**
 * Unbiased estimate of the trace of the covariance of an example's gradient, `(B/2) ‖g₁ − g₂‖²`, from the mean gradients of two
 * independent batches of B examples.
 * @throws RangeError for gradients of different sizes or a batch below 1.
 */
export function gradientNoise(g1: ArrayLike<number>, g2: ArrayLike<number>, batch: number): number {
  if (g1.length !== g2.length || !(batch >= 1))
    throw new RangeError(
      `gradientNoise: takes two gradients of one size and a batch of at least 1, got ${g1.length}, ${g2.length} and ${batch}`,
    );
  let squares = 0;
  for (let i = 0; i < g1.length; i++) squares += (g1[i]! - g2[i]!) ** 2;
  return 0.5 * batch * squares;
}

/**
 * Tunes γ alone, at a decay (or a rate) that is held fixed: the salient direction of the plane of rates and decays.
 *
 * @param train The loss of a run, to be minimized.
 * @throws RangeError without candidates, for values out of range, or unless exactly one of `weightDecay` and `learningRate` is given.
 * @throws Error when no run ends with a finite loss.
 */
export async function tuneAlongSalientDirection({
  gammas,
  weightDecay,
  learningRate,
  train,
}: {
  readonly gammas: readonly number[];
  readonly weightDecay?: number;
  readonly learningRate?: number;
  readonly train: (pair: Omit<Run, "curve">) => Promise<number> | number;
}): Promise<{
  readonly gamma: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly loss: number;
  readonly evaluations: readonly { readonly gamma: number; readonly loss: number }[];
}> {
  if (gammas.length === 0) throw new RangeError("tuneAlongSalientDirection: at least one γ is needed");
  if ((weightDecay === undefined) === (learningRate === undefined))
    throw new RangeError("tuneAlongSalientDirection: fix either the weight decay or the learning rate");
  const pairOf = (gamma: number): Omit<Run, "curve"> => {
    const pair =
      weightDecay === undefined
        ? { learningRate: learningRate!, weightDecay: gamma / learningRate! }
        : { learningRate: gamma / weightDecay, weightDecay };
    requirePair("tuneAlongSalientDirection", pair.learningRate, pair.weightDecay);
    return pair;
  };
  const pairs = gammas.map(pairOf);
  const evaluations: { readonly gamma: number; readonly loss: number }[] = [];
  for (const [i, pair] of pairs.entries()) evaluations.push({ gamma: gammas[i]!, loss: await train(pair) });
  const finite = evaluations.filter(({ loss }) => Number.isFinite(loss));
  if (finite.length === 0)
    throw new Error(`tuneAlongSalientDirection: the loss is not finite at any γ (${gammas.join(", ")})`);
  const best = finite.reduce((a, b) => (b.loss < a.loss ? b : a));
  return { ...best, ...pairs[evaluations.indexOf(best)]!, evaluations };
}
