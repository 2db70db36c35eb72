import {
  add,
  div,
  maximum,
  mean,
  minimum,
  mul,
  sqrt,
  sub,
  sum,
  type Tensor,
  treeMap,
} from "@prior-art/tensor";
import { type GradientTransformation, type Mask, requireSameTree, stateless } from "@prior-art/toolkit/optim";

/**
 * The axes over which one output unit's weights lie: the inputs of a matrix `[inputs, outputs]`, all but the first axis of
 * filters, all of a vector (`null`).
 */
export const unitAxes = ({ rank }: Tensor): readonly number[] | null =>
  rank < 2 ? null : rank === 2 ? [0] : Array.from({ length: rank - 1 }, (_, i) => i + 1);

/** Euclidean norm of each unit's weights, with the axes kept so that it broadcasts. */
export function unitNorm(t: Tensor): Tensor {
  const axes = unitAxes(t);
  const squares = mul(t, t);
  return sqrt(axes ? sum(squares, axes, true) : sum(squares));
}

/**
 * Adaptive gradient clipping (Brock et al., 2021): a unit's gradient is at most `threshold` times as long as its weights,
 * which count as at least `floor` long.
 * @param options threshold τ = 0.01 and floor ε_c = 1e-3 by default. @throws RangeError unless both are positive.
 */
export function adaptiveGradientClipping<P>({
  threshold = 1e-2,
  floor = 1e-3,
}: {
  readonly threshold?: number;
  readonly floor?: number;
} = {}): GradientTransformation<P, null> {
  if (!(threshold > 0 && floor > 0))
    throw new RangeError(
      `adaptiveGradientClipping: needs a positive threshold and floor, got ${threshold} and ${floor}`,
    );
  return stateless((gradients, params) => {
    requireSameTree("adaptiveGradientClipping", gradients, params);
    return treeMap(
      (g, w) => {
        const limit = mul(threshold, maximum(unitNorm(w), floor));
        return mul(minimum(1, div(limit, maximum(unitNorm(g), 1e-6))), g);
      },
      gradients,
      params,
    );
  });
}

/** Each tensor of more than two entries divided by its standard deviation (unbiased; plus 1e-8). */
export const normalizeGradients = <P>(): GradientTransformation<P, null> =>
  stateless((gradients) =>
    treeMap((g) => {
      if (g.size <= 2) return g;
      const centred = sub(g, mean(g));
      const deviation = sqrt(div(sum(mul(centred, centred)), g.size - 1));
      return div(g, add(deviation, 1e-8));
    }, gradients),
  );

/**
 * Norm loss (Georgiou et al., 2021), as a part of the direction like weight decay: adds `2λ_n (1 - 1/(‖w_u‖ + ε)) w_u`, which
 * pulls the norm of each unit's weights to 1 once the direction is multiplied by the negative learning rate.
 * @param options λ_n = 1e-4 and ε = 1e-8 by default; all tensors. @throws RangeError for a negative rate.
 */
export function normLoss<P>({
  rate = 1e-4,
  eps = 1e-8,
  mask = () => true,
}: {
  readonly rate?: number;
  readonly eps?: number;
  readonly mask?: Mask;
} = {}): GradientTransformation<P, null> {
  if (!(rate >= 0)) throw new RangeError(`normLoss: the rate must be 0 or more, got ${rate}`);
  return stateless((directions, params) =>
    treeMap(
      (d, w) => (mask(w) ? add(d, mul(mul(2 * rate, sub(1, div(1, add(unitNorm(w), eps)))), w)) : d),
      directions,
      params,
    ),
  );
}
