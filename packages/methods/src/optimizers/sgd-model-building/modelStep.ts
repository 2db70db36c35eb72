import {
  add,
  div,
  maximum,
  mul,
  sqrt,
  sub,
  sum,
  type Tensor,
  TensorError,
  treeLeaves,
  treeMap,
} from "@prior-art/tensor";
import { mapPaths } from "@prior-art/toolkit/optim";

/** Which group a tensor belongs to, by path and tensor; each group has a model of its own. */
export type Grouping = (path: string, parameter: Tensor) => string;

/** Every tensor is a group, as in the paper. */
export const eachTensor: Grouping = (path) => path;

/** Inner products over one group. */
interface Products {
  readonly ss: Tensor;
  readonly yy: Tensor;
  readonly ys: Tensor;
  readonly gg: Tensor;
  /** With the gradient that the step is built for. */
  readonly sg: Tensor;
  readonly yg: Tensor;
}

/** Below any square that a float32 gradient worth a step has; a group whose gradient is 0 doesn't move. */
const TINY = 1e-36;

/**
 * c_g, c_y and c_s. The paper's σ and θ are written without their cancellations: `yᵀs + 2σ = ‖s‖(‖y‖ + ‖g‖/η)`, so
 * `θ = ‖s‖²‖g‖(2‖y‖/η + ‖g‖/η²)`, which is positive.
 */
function coefficients({ ss, yy, ys, gg, sg, yg }: Products, eta: number): Record<"g" | "y" | "s", Tensor> {
  const sNorm = maximum(sqrt(ss), Math.sqrt(TINY));
  const [yNorm, gNorm] = [sqrt(yy), sqrt(gg)];
  const reach = add(yNorm, div(gNorm, eta));
  const g = div(mul(sNorm, -1), maximum(sub(reach, div(ys, sNorm)), Math.sqrt(TINY)));
  const theta = maximum(mul(gNorm, add(mul(2 / eta, yNorm), mul(1 / eta ** 2, gNorm))), TINY);
  const along = div(sg, sNorm);
  return {
    g,
    y: mul(div(g, theta), sub(yg, mul(reach, along))),
    s: mul(div(g, mul(theta, sNorm)), sub(mul(yy, along), mul(reach, yg))),
  };
}

const dot = (a: Tensor, b: Tensor): Tensor => sum(mul(a, b));

/**
 * The minimizer of the model of one group, `c_g g + c_y y + c_s s` with `y = gTrial - g`: equals `-Hg` for a positive
 * definite H, and is no longer than the trial step. A linear loss (`y = 0`) gives `η s`.
 * @param s trial step `-αg`. @param g gradient at the parameters. @param gTrial gradient at the trial point.
 * @param eta η in (0, 1), 0.99 by default.
 * @throws RangeError unless η is in (0, 1). @throws TensorError when shapes differ.
 */
export function modelStep(s: Tensor, g: Tensor, gTrial: Tensor, eta = 0.99): Tensor {
  if ([g, gTrial].some((t) => t.shape.join() !== s.shape.join()))
    throw new TensorError("modelStep", `shapes differ: ${s}, ${g}, ${gTrial}`);
  return modelSteps([s], [g], [gTrial], [g], { eta, groups: eachTensor })[0]!;
}

/** @throws RangeError unless η is in (0, 1). */
export function requireEta(op: string, eta: number): void {
  if (!(eta > 0 && eta < 1)) throw new RangeError(`${op}: eta must lie between 0 and 1, got ${eta}`);
}

/**
 * Model steps of all groups of a tree.
 * @param steps trial steps, from `gradients`. @param target the gradient that the step is built for: `gradients` itself
 *   (SMB), or an earlier batch's (SMBi).
 */
export function modelSteps<P>(
  steps: P,
  gradients: P,
  trialGradients: P,
  target: P,
  { eta, groups }: { readonly eta: number; readonly groups: Grouping },
): P {
  requireEta("modelStep", eta);
  const names: string[] = [];
  mapPaths(steps, (path, s) => {
    names.push(groups(path, s));
    return s;
  });
  const changes = treeMap(sub, trialGradients, gradients);
  const [s, g, y, t] = [steps, gradients, changes, target].map(treeLeaves) as [
    Tensor[],
    Tensor[],
    Tensor[],
    Tensor[],
  ];
  const totalOf = (name: string, a: Tensor[], b: Tensor[]): Tensor =>
    a.flatMap((tensor, i) => (names[i] === name ? [dot(tensor, b[i]!)] : [])).reduce((x, z) => add(x, z));
  const byGroup = new Map(
    [...new Set(names)].map((name) => [
      name,
      coefficients(
        {
          ss: totalOf(name, s, s),
          yy: totalOf(name, y, y),
          ys: totalOf(name, y, s),
          gg: totalOf(name, g, g),
          sg: totalOf(name, s, t),
          yg: totalOf(name, y, t),
        },
        eta,
      ),
    ]),
  );
  let at = 0;
  return treeMap(
    (trial, wanted, change) => {
      const c = byGroup.get(names[at++]!)!;
      return add(add(mul(c.g, wanted), mul(c.y, change)), mul(c.s, trial));
    },
    steps,
    target,
    changes,
  );
}
