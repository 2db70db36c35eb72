import {
  add,
  clip,
  div,
  greater,
  greaterEqual,
  less,
  logicalAnd,
  maximum,
  mul,
  scalar,
  sqrt,
  sub,
  sum,
  type Tensor,
  TensorError,
  treeLeaves,
  treeMap,
  where,
  zerosLike,
} from "@prior-art/tensor";
import {
  type GradientTransformation,
  mapPaths,
  requireSameTree,
  type Schedule,
} from "@prior-art/toolkit/optim";

/** Which tensors keep their norm, by path (such as `layers[0].weight`) and tensor. */
export type Constrain = (path: string, parameter: Tensor) => boolean;

/** Weight matrices, filters and embedding tables; biases and the gains of normalization layers stay free. */
export const weightTensors: Constrain = (_, { rank }) => rank > 1;

/** Steps of linear warm-up at the start of each phase. */
export interface WarmupSteps {
  readonly free: number | Tensor;
  readonly constrained: number | Tensor;
}

export interface LawnOptions {
  /**
   * Steps of the free phase (E_free in steps); the constrained phase starts with step number `freeSteps`, counted from
   * 0 and rounded up. `Infinity` leaves the base optimizer as it is. The main hyperparameter: some epochs.
   */
  readonly freeSteps: number | Tensor;
  /**
   * Steps over which the updates grow in a straight line to their full size (E_warmup in steps), at the start of
   * training and once more from the switch: one number for both phases or one for each; 0 is no warm-up, and a free
   * phase that is shorter ends within its warm-up. By default as many as the free phase has, which is then all warm-up;
   * none when that is `Infinity`.
   */
  readonly warmupSteps?: number | Tensor | WarmupSteps;
  /** `weightTensors` by default. */
  readonly constrain?: Constrain;
  /** Start the base optimizer's state anew at the switch, as the moments were those of unprojected gradients; true. */
  readonly resetState?: boolean;
  /** What the norms at the switch are multiplied by, 1 by default. */
  readonly scale?: number | Tensor;
  /**
   * A factor of the updates by the number of steps taken since the start of training. A schedule inside the base
   * optimizer starts anew at the switch when its state does; this one doesn't.
   */
  readonly schedule?: Schedule;
}

export interface LawnState<P, S> {
  /** Steps taken, a float scalar. */
  readonly step: Tensor;
  /** The base optimizer's. */
  readonly base: S;
  /** c_l, a scalar for each tensor; 0 where a tensor is not constrained (yet). */
  readonly norms: P;
}

/** Numbers whose square is 0 have no direction; this keeps the division by them finite. */
const TINY = 1e-30;

const square = (t: Tensor): Tensor => sum(mul(t, t));
const frobenius = (t: Tensor): Tensor => sqrt(square(t));

/** `g` without its part along `w`: `g - (⟨g, w⟩/‖w‖²) w`; tensors of one shape. A zero `w` takes nothing off. */
export const tangentProject = (g: Tensor, w: Tensor): Tensor => projectedWhere(null, g, w);

/** Projects where `on`; the choice is made on the scalar, which spares a pass over the tensors. */
function projectedWhere(on: Tensor | null, g: Tensor, w: Tensor): Tensor {
  const along = div(sum(mul(g, w)), maximum(square(w), TINY));
  return sub(g, mul(on ? where(on, along, 0) : along, w));
}

/** `w` at norm `c`: `c w/‖w‖`; a zero `w` stays zero. */
export const retract = (w: Tensor, c: number | Tensor): Tensor =>
  mul(div(c, maximum(frobenius(w), Math.sqrt(TINY))), w);

/** What to add to `w` for `retract(w + u, c)` where `on`, else `u` to the last bit. */
function retractedWhere(on: Tensor, u: Tensor, w: Tensor, c: Tensor): Tensor {
  const factor = where(on, div(c, maximum(frobenius(add(w, u)), Math.sqrt(TINY))), 1);
  return add(mul(factor, u), mul(sub(factor, 1), w));
}

/** The default warm-up. */
function untilSwitch(freeSteps: number | Tensor): number | Tensor {
  if (typeof freeSteps === "number") return Number.isFinite(freeSteps) ? freeSteps : 0;
  return where(less(freeSteps, Number.POSITIVE_INFINITY), freeSteps, 0);
}

const perPhase = (warmup: number | Tensor | WarmupSteps): WarmupSteps =>
  typeof warmup === "object" && "free" in warmup ? warmup : { free: warmup, constrained: warmup };

/** The share of its full size that the update of a step has, `1/n, 2/n, … 1`, or nothing where there is no warm-up. */
function warmedShare(
  { free, constrained }: WarmupSteps,
  step: Tensor,
  freeSteps: number | Tensor,
): Tensor | undefined {
  if (free === 0 && constrained === 0) return undefined;
  const share = (taken: Tensor, length: number | Tensor): Tensor => {
    const steps = typeof length === "number" ? Math.max(length, 1) : maximum(length, 1);
    return clip(div(add(taken, 1), steps), 0, 1);
  };
  return where(less(step, freeSteps), share(step, free), share(sub(step, freeSteps), constrained));
}

/**
 * LAWN around any base optimizer, in place of weight decay: after `freeSteps` ordinary steps, the Frobenius norm of each
 * constrained tensor stays as it is. Gradients are projected on the tangent space of that sphere, the base optimizer's
 * step is projected again, and the weights are scaled back to the norm. The updates warm up at the start of both phases.
 * Bounded norms bound the logits of a network that is homogeneous in its weights, so that losses and gradients don't
 * vanish on separable data.
 *
 * Tensors that are zero at the switch are never constrained. Further transformations (clipping) belong in front of the
 * base, inside: `lawn(chain(clipByGlobalNorm(1), adam(…)), …)`; in front of LAWN they see raw gradients, behind it they
 * break the constraint.
 *
 * @throws RangeError unless `freeSteps ≥ 0`, `warmupSteps` finite and ≥ 0, and `scale > 0`. @throws TensorError, at a
 *   step, when gradients or state don't fit the parameters.
 * @example
 * const optimizer = lawn(adam<MlpParams>({ learningRate: 1e-2 }), { freeSteps: 5 * stepsPerEpoch });
 */
export function lawn<P, S>(
  base: GradientTransformation<P, S>,
  {
    freeSteps,
    warmupSteps = untilSwitch(freeSteps),
    constrain = weightTensors,
    resetState = true,
    scale = 1,
    schedule,
  }: LawnOptions,
): GradientTransformation<P, LawnState<P, S>> {
  if (typeof freeSteps === "number" && !(freeSteps >= 0))
    throw new RangeError(`lawn: freeSteps must be 0 or more, got ${freeSteps}`);
  const warmup = perPhase(warmupSteps);
  for (const length of [warmup.free, warmup.constrained])
    if (typeof length === "number" && !(length >= 0 && length < Number.POSITIVE_INFINITY))
      throw new RangeError(`lawn: warmupSteps must be finite and 0 or more, got ${length}`);
  if (typeof scale === "number" && !(scale > 0))
    throw new RangeError(`lawn: scale must be positive, got ${scale}`);

  /** Which tensors, in order, are constrained. */
  const constrained = (params: P): boolean[] => {
    const chosen = new Set<Tensor>();
    const marks = treeMap(zerosLike, params);
    mapPaths(marks, (path, mark) => {
      if (constrain(path, mark)) chosen.add(mark);
      return mark;
    });
    return treeLeaves(marks).map((mark) => chosen.has(mark));
  };

  return {
    init: (params) => ({
      step: scalar(0, treeLeaves(params)[0]?.dtype ?? "float32"),
      base: base.init(params),
      norms: treeMap((p) => scalar(0, p.dtype), params),
    }),
    update: (gradients, state, params) => {
      requireSameTree("lawn", gradients, params);
      if (treeLeaves(state.norms).length !== treeLeaves(params).length)
        throw new TensorError("lawn", "the state is that of parameters with another number of tensors");
      const keeps = constrained(params);
      const { step } = state;
      const bound = greaterEqual(step, freeSteps);
      const switching = logicalAnd(bound, less(sub(step, 1), freeSteps));

      let leaf = 0;
      const norms = treeMap(
        (c, p) => (keeps[leaf++] ? where(switching, mul(scale, frobenius(p)), c) : c),
        state.norms,
        params,
      );
      const active = treeMap((c) => logicalAnd(bound, greater(c, 0)), norms);
      const before = resetState
        ? treeMap((fresh, now) => where(switching, fresh, now), base.init(params), state.base)
        : state.base;

      const projected = treeMap((g, w, on) => projectedWhere(on, g, w), gradients, params, active);
      const [raw, after] = base.update(projected, before, params);
      const scheduled = schedule ? treeMap((u) => mul(schedule(step), u), raw) : raw;
      const share = warmedShare(warmup, step, freeSteps);
      const warmed = share ? treeMap((u) => mul(share, u), scheduled) : scheduled;
      const updates = treeMap(
        (u, w, on, c) => retractedWhere(on, projectedWhere(on, u, w), w, c),
        warmed,
        params,
        active,
        norms,
      );
      return [updates, { step: add(step, 1), base: after, norms }];
    },
  };
}
