import {
  exp,
  grad,
  logSoftmax,
  mul,
  random,
  softmax,
  stopGradient,
  sub,
  sum,
  type Tensor,
  toArray,
} from "@prior-art/tensor";
import { type KlEstimator, klEstimate } from "@prior-art/toolkit/lm";
import { type Divergence, exactObjective, rpgLoss, type Style } from "./method.ts";

const OUTCOMES = 8;
const BETA = 0.3;
export const DIVERGENCES: readonly Divergence[] = ["fkl", "rkl", "ufkl", "urkl"];
const STYLES: readonly Style[] = ["differentiable", "reinforce"];

/** Penalties that are differentiated with their samples held fixed, by name. */
const PENALTIES = {
  "k1 on-policy": { kind: "k1", from: "policy", weight: "none" },
  "k2 on-policy": { kind: "k2", from: "policy", weight: "none" },
  "k3 on-policy": { kind: "k3", from: "policy", weight: "none" },
  "k1 off-policy": { kind: "k1", from: "old", weight: "none" },
  "k2 off-policy": { kind: "k2", from: "old", weight: "none" },
  "k3 off-policy (GRPO)": { kind: "k3", from: "old", weight: "none" },
  "w · k3": { kind: "k3", from: "old", weight: "w" },
  "stopped w · k3": { kind: "k3", from: "old", weight: "stopped" },
} as const satisfies Readonly<
  Record<string, { kind: KlEstimator; from: "policy" | "old"; weight: "none" | "w" | "stopped" }>
>;
export type Penalty = keyof typeof PENALTIES;
export const PENALTY_NAMES = Object.keys(PENALTIES) as Penalty[];

export interface Audit {
  /** Largest relative error of the RPG losses' expected gradients, over all divergences, styles and draws. */
  readonly rpgError: number;
  /** Largest relative difference of the two styles' gradients. */
  readonly styleDifference: number;
  /** Largest norm of k1's expected gradient on-policy. */
  readonly k1Norm: number;
  /** Median relative errors by penalty (rows) against the gradients of forward and reverse KL. */
  readonly penaltyErrors: readonly (readonly [forward: number, reverse: number])[];
}

/** Expected gradients of all losses for random policies, against those of the objectives they are for. */
export async function auditGradients(seed: number, draws: number): Promise<Audit> {
  const normal = (i: number): Tensor =>
    random.normal(random.fold(random.key(seed), i), [draws, OUTCOMES], { dtype: "float64" });
  const [theta, old, reference, rewards] = [0, 1, 2, 3].map(normal) as [Tensor, Tensor, Tensor, Tensor];
  const [logOld, logReference] = [logSoftmax(old), logSoftmax(reference)];

  /** Gradient by the logits of the expected loss under fixed sampling probabilities, one row a draw. */
  const expectedGradient = async (from: Tensor, loss: (logp: Tensor) => Tensor): Promise<number[][]> =>
    (await toArray(grad((logits: Tensor) => sum(mul(from, loss(logSoftmax(logits)))))(theta))) as number[][];

  const rows = async (t: Tensor): Promise<number[][]> => (await toArray(t)) as number[][];
  const [p, q, r] = [await rows(softmax(theta)), await rows(softmax(reference)), await rows(rewards)];
  const exact = (divergence: Divergence, beta: number, rewarded = true): Float64Array[] =>
    p.map((row, i) => {
      const reward = rewarded ? r[i]! : row.map(() => 0);
      return exactObjective(row, q[i]!, reward, divergence, beta).gradient;
    });

  let rpgError = 0;
  let styleDifference = 0;
  for (const divergence of DIVERGENCES) {
    const target = exact(divergence, BETA).map((g) => g.map((x) => -x));
    const found: number[][][] = [];
    for (const style of STYLES)
      found.push(
        await expectedGradient(softmax(old), (logProbabilities) =>
          rpgLoss(
            {
              logProbabilities,
              oldLogProbabilities: logOld,
              referenceLogProbabilities: logReference,
              advantages: rewards,
            },
            { divergence, beta: BETA, style },
          ),
        ),
      );
    for (const gradients of found) rpgError = Math.max(rpgError, ...relativeErrors(gradients, target));
    styleDifference = Math.max(styleDifference, ...relativeErrors(found[0]!, found[1]!));
  }

  const forward = exact("fkl", 1, false).map((g) => g.map((x) => -x));
  const reverse = exact("rkl", 1, false).map((g) => g.map((x) => -x));
  let k1Norm = 0;
  const penaltyErrors: [number, number][] = [];
  for (const [name, { kind, from, weight }] of Object.entries(PENALTIES)) {
    const gradients = await expectedGradient(softmax(from === "old" ? old : theta), (logp) => {
      const estimate = klEstimate(kind, logp, logReference);
      if (weight === "none") return estimate;
      const w = exp(sub(logp, logOld));
      return mul(weight === "w" ? w : stopGradient(w), estimate);
    });
    if (name === "k1 on-policy") k1Norm = Math.max(...gradients.map((g) => Math.hypot(...g)));
    penaltyErrors.push([
      median(relativeErrors(gradients, forward)),
      median(relativeErrors(gradients, reverse)),
    ]);
  }
  return { rpgError, styleDifference, k1Norm, penaltyErrors };
}

const relativeErrors = (
  found: readonly ArrayLike<number>[],
  target: readonly ArrayLike<number>[],
): number[] =>
  found.map((row, i) => {
    const wanted = Array.from(target[i]!);
    return Math.hypot(...wanted.map((x, k) => row[k]! - x)) / Math.hypot(...wanted);
  });

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
