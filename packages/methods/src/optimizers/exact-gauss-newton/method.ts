import {
  add,
  cast,
  clip,
  div,
  expandDims,
  eye,
  isFinite as finite,
  greater,
  less,
  lessEqual,
  linalg,
  logicalAnd,
  logicalNot,
  matmul,
  matrixTranspose,
  min,
  mul,
  neg,
  pow,
  reshape,
  scalar,
  sub,
  sum,
  type Tensor,
  TensorError,
  treeLeaves,
  treeMap,
  vmap,
  where,
  whileLoop,
  zerosLike,
} from "@prior-art/tensor";
import {
  applyUpdates,
  type ClosureOptimizer,
  type LearningRate,
  requireLearningRate,
  requireOutputs,
  requireSameTree,
} from "@prior-art/toolkit/optim";
import { factoredBasis, linearize, outputLoss } from "./outputLoss.ts";
import { spdSolve } from "./spdSolve.ts";

export { outputHessian } from "./outputLoss.ts";
export { type TruncatedGaussNewtonOptions, truncatedGaussNewton } from "./truncated.ts";

/**
 * The Levenberg–Marquardt direction `-(JᵀQJ/b + λI)⁻¹ Jᵀr/b`, from a system of the batch's size: `d = -Jᵀδ` with
 * `(QJJᵀ + bλI)δ = r` (the push-through identity, after Duncan and Guttman).
 * @param jacobian `J`, `[examples · outputs, parameters]`.
 * @param residual `r`, the loss's gradient in the outputs, `[examples · outputs]`.
 * @param hessian `Q`'s blocks, `[examples, outputs, outputs]`; `null` for the identity (squared errors).
 * @param damping λ > 0.
 * @param examples b.
 * @returns `d`, `[parameters]`.
 * @throws TensorError when shapes don't fit.
 */
export function gaussNewtonDirection(
  jacobian: Tensor,
  residual: Tensor,
  hessian: Tensor | null,
  damping: number | Tensor,
  examples: number,
): Tensor {
  const op = "gaussNewtonDirection";
  const rows = residual.shape[0];
  if (rows === undefined || residual.rank !== 1 || jacobian.rank !== 2 || jacobian.shape[0] !== rows)
    throw new TensorError(
      op,
      `the Jacobian ${jacobian.toString()} doesn't fit residuals ${residual.toString()}`,
    );
  if (hessian && (hessian.rank !== 3 || hessian.shape[0]! * hessian.shape[1]! !== rows))
    throw new TensorError(op, `the Hessian's blocks ${hessian.toString()} don't fit ${rows} residuals`);
  const gram = matmul(jacobian, matrixTranspose(jacobian));
  const scaled = mul(examples, mul(damping, identity(rows, gram)));
  const right = expandDims(residual, -1);
  const delta = hessian
    ? linalg.solve(add(blockProduct(hessian, gram), scaled), right)
    : spdSolve(add(gram, scaled), right);
  return neg(reshape(matmul(matrixTranspose(jacobian), delta), [jacobian.shape[1]!]));
}

const identity = (n: number, like: Tensor): Tensor => eye(n, n, like.dtype as "float32" | "float64");

/** A block-diagonal matrix, given as `[blocks, size, size]`, times `[blocks · size, columns]`. */
const blockProduct = (blocks: Tensor, x: Tensor): Tensor =>
  reshape(matmul(blocks, reshape(x, [blocks.shape[0]!, blocks.shape[1]!, x.shape[1]!])), x.shape);

export interface LineSearchOptions {
  /** κ of Armijo's condition `L(w + αd) ≤ L(w) + κα gᵀd`, 1e-4 by default. */
  readonly sufficientDecrease?: number;
  /** What α is multiplied by after a try that failed, 0.5 by default. */
  readonly shrink?: number;
  /** Tries, 10 by default; when all fail, the step is 0. */
  readonly tries?: number;
}

export interface AdaptiveDampingOptions {
  /** λ is multiplied by this where the trust ratio is below 0.25, 1.5 by default. */
  readonly increase?: number;
  /** And by this where it is above 0.75, 0.5 by default. */
  readonly decrease?: number;
  /** Bounds of λ, [1e-12, 1e6] by default. */
  readonly range?: readonly [number, number];
}

export interface ExactGaussNewtonOptions {
  /** α, or the first α tried by the line search; 1 by default. */
  readonly learningRate?: LearningRate;
  /** λ, or its first value; 1 by default. A scalar tensor in sweeps under `vmap`. */
  readonly damping?: number | Tensor;
  /** β of `m ← βm + (1-β)d`, bias-corrected; 0 by default, 0.9 in the paper's variant with momentum. */
  readonly momentum?: number;
  /** Armijo's backtracking on the same batch; off by default. */
  readonly lineSearch?: boolean | LineSearchOptions;
  /** Adapts λ by the ratio of the loss's true to its predicted decrease; off by default. */
  readonly adaptiveDamping?: boolean | AdaptiveDampingOptions;
}

export interface ExactGaussNewtonState<P> {
  /** Steps taken. */
  readonly step: Tensor;
  /** λ. */
  readonly damping: Tensor;
  /** m, like the parameters; `null` without momentum. */
  readonly momentum: P | null;
  /** Steps left out because a number was not finite, int32. */
  readonly skipped: Tensor;
}

/** Σ of the products of two trees' entries. */
const inner = (a: unknown, b: unknown): Tensor => {
  const others = treeLeaves(b);
  return treeLeaves(a)
    .map((t, i) => sum(mul(t, others[i]!)))
    .reduce((total, t) => add(total, t));
};

const scaledTree = <P>(tree: P, factor: Tensor | number): P => treeMap((t) => mul(factor, t), tree);

/**
 * α by backtracking from `first`: the first of `first · shrinkⁱ` that decreases the loss enough, else 0.
 * @param lossAt The batch's loss after a step of length α.
 * @param slope `gᵀd`, negative.
 */
function backtrack(
  lossAt: (rate: Tensor) => Tensor,
  { loss, slope, first }: { loss: Tensor; slope: Tensor; first: Tensor },
  { sufficientDecrease = 1e-4, shrink = 0.5, tries = 10 }: LineSearchOptions,
): Tensor {
  const { rate, found } = whileLoop(
    (state) => logicalAnd(logicalNot(state.found), less(state.tried, tries)),
    (state) => {
      const enough = lessEqual(
        lossAt(state.rate),
        add(loss, mul(mul(sufficientDecrease, state.rate), slope)),
      );
      return {
        rate: where(enough, state.rate, mul(shrink, state.rate)),
        found: enough,
        tried: add(state.tried, 1),
      };
    },
    { rate: first, found: greater(zerosLike(first), 0), tried: scalar(0, "int32") },
  );
  return where(found, rate, zerosLike(rate));
}

/** `{}` for `true`, `undefined` for off. */
const options = <O extends object>(given: boolean | O | undefined): O | undefined =>
  given === true ? ({} as O) : given || undefined;

function requireOptions({ damping = 1, momentum = 0, lineSearch, adaptiveDamping }: ExactGaussNewtonOptions) {
  const op = "exactGaussNewton";
  if (typeof damping === "number" && !(damping > 0 && Number.isFinite(damping)))
    throw new RangeError(`${op}: the damping must be positive and finite, got ${damping}`);
  if (!(momentum >= 0 && momentum < 1))
    throw new RangeError(`${op}: the momentum is at least 0 and below 1, got ${momentum}`);
  const { shrink = 0.5, tries = 10 } = options(lineSearch) ?? {};
  if (!(shrink > 0 && shrink < 1 && Number.isInteger(tries) && tries >= 1))
    throw new RangeError(`${op}: the line search shrinks by a factor between 0 and 1, at least once`);
  const { increase = 1.5, decrease = 0.5 } = options(adaptiveDamping) ?? {};
  if (!(increase >= 1 && decrease > 0 && decrease <= 1))
    throw new RangeError(`${op}: adaptive damping needs increase ≥ 1 ≥ decrease > 0`);
}

/**
 * Exact Gauss–Newton (EGN): Levenberg–Marquardt steps `w ← w + αd` whose directions come from one factorization of the
 * batch's size, `examples · outputs`. It needs the model's outputs (`outputs` of `fit` and `trainSteps`); penalties that
 * are in the loss alone have no part in the direction.
 *
 * A step whose numbers are not finite is left out: the update is 0 and the state stays, but for its count of such steps.
 * @throws RangeError when the rate or the damping is not positive, or a constant is out of its range. @throws TensorError
 *   in a step without outputs, with targets that don't fit them, or with parameters unlike those of the state's momentum.
 * @example
 * const optimizer = exactGaussNewton<MlpParams>({ learningRate: 0.2, damping: 0.1 });
 * fit({ loss, outputs: ({ x, y }) => ({ predict: (p) => model.apply(p, x), targets: y, kind: "squaredError" }), optimizer, … });
 */
export function exactGaussNewton<P>(
  given: ExactGaussNewtonOptions = {},
): ClosureOptimizer<P, ExactGaussNewtonState<P>> {
  const { learningRate = 1, damping = 1, momentum: beta = 0 } = given;
  requireLearningRate("exactGaussNewton", learningRate);
  requireOptions(given);
  const lineSearch = options(given.lineSearch);
  const adaptive = options(given.adaptiveDamping);
  return {
    init(params) {
      const zero = scalar(0, treeLeaves(params)[0]?.dtype ?? "float32");
      return {
        step: zero,
        damping: add(zero, damping),
        momentum: beta > 0 ? treeMap(zerosLike, params) : null,
        skipped: scalar(0, "int32"),
      };
    },
    step(objective, state, params) {
      if (state.momentum) requireSameTree("exactGaussNewton", state.momentum, params);
      const outputs = requireOutputs("exactGaussNewton", objective);
      const at = linearize("exactGaussNewton", outputs, params);
      const size = at.examples * at.count;
      const rows = vmap(at.pullback)(factoredBasis(at));
      const flatRows = treeLeaves(rows).map((t) => reshape(t, [size, t.size / size]));
      const gram = flatRows.map((j) => matmul(j, matrixTranspose(j))).reduce((total, k) => add(total, k));
      const system = add(gram, mul(mul(at.examples, state.damping), identity(size, gram)));
      const delta = spdSolve(system, reshape(at.factored, [size, 1]));
      const cotangent = reshape(matmul(at.factor, reshape(delta, [at.examples, at.count, 1])), [
        at.examples,
        at.count,
      ]);
      const newest = scaledTree(at.pullback(cotangent), -1);
      const gradient = scaledTree(at.pullback(at.residual), 1 / at.examples);

      const step = add(state.step, 1);
      const momentum =
        state.momentum && treeMap((m, d) => add(mul(beta, m), mul(1 - beta, d)), state.momentum, newest);
      const averaged = momentum ? scaledTree(momentum, div(1, sub(1, pow(beta, step)))) : newest;
      // An average of past directions need not descend on this batch, where a line search would find nothing.
      const descends = less(inner(gradient, averaged), 0);
      const direction =
        momentum && lineSearch ? treeMap((m, d) => where(descends, m, d), averaged, newest) : averaged;
      const slope = inner(gradient, direction);

      const lossAfter = (rate: Tensor): Tensor =>
        outputLoss(
          outputs.kind,
          outputs.predict(applyUpdates(params, scaledTree(direction, rate))),
          outputs.targets,
        );
      const given = typeof learningRate === "function" ? learningRate(state.step) : learningRate;
      const first = add(zerosLike(at.loss), given);
      const rate = lineSearch ? backtrack(lossAfter, { loss: at.loss, slope, first }, lineSearch) : first;

      const moved = treeLeaves(direction)
        .map((d, i) => matmul(flatRows[i]!, reshape(d, [d.size, 1])))
        .reduce((total, v) => add(total, v));
      const curvature = div(sum(mul(moved, moved)), at.examples);
      const nextDamping = adaptive
        ? adapted(state.damping, { loss: at.loss, after: lossAfter(rate), rate, slope, curvature }, adaptive)
        : state.damping;

      const updates = scaledTree(direction, rate);
      const fine = [at.loss, ...treeLeaves(updates)]
        .map((t) => greater(min(cast(finite(t), "int32")), 0))
        .reduce(logicalAnd);
      const next = { step, damping: nextDamping, momentum, skipped: state.skipped };
      const kept = treeMap((after, before) => where(fine, after, before), next, state);
      return [
        treeMap((u) => where(fine, u, zerosLike(u)), updates),
        { ...kept, skipped: add(state.skipped, sub(1, cast(fine, "int32"))) },
        objective.loss(params),
      ];
    },
  };
}

/** A step and what the quadratic model says of it. */
export interface TrustRatioTerms {
  /** Before and after the step. */
  readonly loss: Tensor;
  readonly after: Tensor;
  /** α, `gᵀd` and `dᵀHd`. */
  readonly rate: Tensor;
  readonly slope: Tensor;
  readonly curvature: Tensor;
}

const predictedDecrease = ({ rate, slope, curvature }: TrustRatioTerms): Tensor =>
  neg(add(mul(rate, slope), mul(0.5, mul(mul(rate, rate), curvature))));

/** ρ, the loss's decrease over that of the quadratic model: 1 where the model is exact. */
export const trustRatio = (terms: TrustRatioTerms): Tensor =>
  div(sub(terms.loss, terms.after), predictedDecrease(terms));

/** λ after a step; it stays where the model promised no decrease. */
function adapted(
  damping: Tensor,
  terms: TrustRatioTerms,
  { increase = 1.5, decrease = 0.5, range: [least, most] = [1e-12, 1e6] }: AdaptiveDampingOptions,
): Tensor {
  const ratio = trustRatio(terms);
  const changed = where(
    less(ratio, 0.25),
    mul(increase, damping),
    where(greater(ratio, 0.75), mul(decrease, damping), damping),
  );
  return where(greater(predictedDecrease(terms), 0), clip(changed, least, most), damping);
}
