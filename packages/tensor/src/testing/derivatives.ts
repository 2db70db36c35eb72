import {
  add,
  cast,
  data,
  grad,
  jit,
  jvp,
  mul,
  reshape,
  type Shape,
  slice,
  stack,
  sub,
  sum,
  type Tensor,
  vmap,
} from "../index.ts";
import { flatten } from "../tree.ts";
import { spreadNumbers } from "./numbers.ts";

/** A differentiable function, to be checked at arguments drawn from `domain` for each of a list of shapes. */
export interface DerivativeCase {
  readonly name: string;
  readonly f: (...xs: Tensor[]) => Tensor;
  readonly shapes: readonly Shape[];
  readonly domain?: readonly [low: number, high: number];
  /** Relative to the largest derivative, or to 1. */
  readonly tolerance?: number;
  /** Second order under `vmap` only, where each graph takes long to compile. */
  readonly heavy?: boolean;
  /** Of float32 against float64. */
  readonly singleTolerance?: number;
}

/** Where two arrays differ by more than `tolerance`, relative to the largest expected number or to 1. */
export function farthest(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): string | undefined {
  const [a, b] = [Array.from(actual), Array.from(expected)];
  if (a.length !== b.length) return `${a.length} numbers where ${b.length} were expected`;
  const scale = b.reduce((most, v) => (Number.isFinite(v) ? Math.max(most, Math.abs(v)) : most), 1);
  const off = a.findIndex((v, i) => !(Object.is(v, b[i]) || Math.abs(v - b[i]!) <= tolerance * scale));
  return off < 0 ? undefined : `${a[off]} where ${b[off]} was expected (element ${off})`;
}

const STEP = 1e-5;
const EXAMPLES = 2;

const dot = (xs: readonly Tensor[], ys: readonly Tensor[]): Tensor =>
  xs.map((x, i) => sum(mul(x, ys[i]!))).reduce((a, b) => add(a, b));

/** Derivatives of `<c, f>` at `xs` in direction `us`, by every nesting of modes, and by central differences. */
function firstOrder(f: DerivativeCase["f"], xs: Tensor[], us: Tensor[], c: Tensor) {
  const weighted = (args: Tensor[]): Tensor => sum(mul(c, f(...args)));
  const moved = (by: number): Tensor[] => xs.map((x, i) => add(x, mul(by, us[i]!)));
  const difference = (a: Tensor, b: Tensor): Tensor => mul(sub(a, b), 1 / (2 * STEP));
  const [value, tangent] = jvp(f, xs, us);
  const gradient = grad(weighted)(xs);
  const expected = difference(f(...moved(STEP)), f(...moved(-STEP)));
  return {
    value,
    tangent,
    gradient,
    expected,
    along: dot(gradient, us),
    expectedAlong: dot([c], [expected]),
  };
}

function allOrders(f: DerivativeCase["f"], xs: Tensor[], us: Tensor[], c: Tensor) {
  const weighted = (args: Tensor[]): Tensor => sum(mul(c, f(...args)));
  const pushed = (...args: Tensor[]): Tensor => jvp(f, args, us)[1];
  const moved = (by: number): Tensor[] => grad(weighted)(xs.map((x, i) => add(x, mul(by, us[i]!))));
  const [ahead, behind] = [moved(STEP), moved(-STEP)];
  const curvature = ahead.map((t, i) => mul(sub(t, behind[i]!), 1 / (2 * STEP)));
  return {
    ...firstOrder(f, xs, us, c),
    curvature,
    forwardOverReverse: jvp(grad(weighted), [xs], [us])[1],
    reverseOverReverse: grad((args: Tensor[]) => dot(grad(weighted)(args), us))(xs),
    reverseOverForward: grad((args: Tensor[]) => dot([c], [pushed(...args)]))(xs),
    forwardOverForward: dot([c], [jvp(pushed, xs, us)[1]]),
    curvatureAlong: dot(curvature, us),
  };
}

/** Pairs of tensors that should be equal, with what they are. */
type Claim = readonly [what: string, actual: Tensor, expected: Tensor];

const orders = (r: ReturnType<typeof allOrders>): Claim[] => [
  ["jvp against central differences", r.tangent, r.expected],
  ["vjp against central differences", r.along, r.expectedAlong],
  ...r.curvature.flatMap((expected, i): Claim[] => [
    [`forward over reverse, argument ${i}`, r.forwardOverReverse[i]!, expected],
    [`reverse over reverse, argument ${i}`, r.reverseOverReverse[i]!, expected],
    [`reverse over forward, argument ${i}`, r.reverseOverForward[i]!, expected],
  ]),
  ["forward over forward", r.forwardOverForward, r.curvatureAlong],
];

/** Claims that one result of `vmap` is the stack of the results of single calls. */
function stackClaims(what: string, batched: unknown, single: readonly unknown[]): Claim[] {
  const singles = single.map((tree) => flatten("check", tree));
  return flatten("check", batched).leaves.map((t, i): Claim => {
    const path = singles[0]!.shape.paths[i]!;
    return [`${what}: ${path}`, t, stack(singles.map((s) => s.leaves[i]!))];
  });
}

/** Which arguments are mapped: all of them, then every other choice of some. */
const choices = (count: number): boolean[][] =>
  Array.from({ length: 2 ** count - 1 }, (_, code) =>
    Array.from({ length: count }, (_, i) => ((2 ** count - 1 - code) & (1 << i)) !== 0),
  );

const each = <T>(f: (example: number) => T): T[] => Array.from({ length: EXAMPLES }, (_, e) => f(e));

function claimsOf({ f, shapes, heavy }: DerivativeCase, xs: Tensor[], us: Tensor[], c: Tensor): Claim[] {
  const pick = (stacks: Tensor[], example: number, mapped: readonly boolean[]): Tensor[] =>
    stacks.map((t, i) => slice(t, mapped[i] ? example : 0));
  const [all, ...partial] = choices(shapes.length);
  const batched = vmap((x: Tensor[], u: Tensor[]) => allOrders(f, x, u, c))(xs, us);
  const claims = orders(batched);
  if (heavy) {
    const { value, gradient } = batched;
    const single = each((e) => {
      const args = pick(xs, e, all!);
      return { value: f(...args), gradient: grad((x: Tensor[]) => sum(mul(c, f(...x))))(args) };
    });
    claims.push(...stackClaims("vmap", { value, gradient }, single));
  } else {
    const single = each((e) => allOrders(f, pick(xs, e, all!), pick(us, e, all!), c));
    claims.push(...single.flatMap(orders), ...stackClaims("vmap", batched, single));
  }
  for (const mapped of heavy ? [] : partial) {
    const axes = mapped.flatMap((m) => (m ? [0, 0] : [null, null]));
    const given = shapes.flatMap((_, i) =>
      mapped[i] ? [xs[i]!, us[i]!] : [slice(xs[i]!, 0), slice(us[i]!, 0)],
    );
    const run = (...args: Tensor[]) =>
      firstOrder(
        f,
        args.filter((_, i) => i % 2 === 0),
        args.filter((_, i) => i % 2 === 1),
        c,
      );
    const single = each((e) => firstOrder(f, pick(xs, e, mapped), pick(us, e, mapped), c));
    claims.push(
      ...stackClaims(`vmap over ${mapped.map(Number)}`, vmap(run, { inAxes: axes })(...given), single),
    );
  }
  return claims;
}

function argumentsOf({ f, shapes, domain = [-2, 2] }: DerivativeCase) {
  const stacks = shapes.map((s) => [EXAMPLES, ...s]);
  const xs = spreadNumbers(stacks, domain, 1);
  const [c] = spreadNumbers([f(...xs.map((x) => slice(x, 0))).shape], [0.5, 1.5], 3);
  return { xs, us: spreadNumbers(stacks, [-1, 1], 2), c: c! };
}

/**
 * Where the values or derivatives of a function in float32, which has kernels of its own, differ from those in float64.
 */
export async function wrongInSinglePrecision(given: DerivativeCase): Promise<string[]> {
  const { xs, us, c } = argumentsOf(given);
  const run = jit((x: Tensor[], u: Tensor[], weights: Tensor) => {
    const weighted = (args: Tensor[]): Tensor => sum(mul(weights, given.f(...args)));
    const one = (a: Tensor[], b: Tensor[]) => ({
      value: given.f(...a),
      tangent: jvp(given.f, a, b)[1],
      gradient: grad(weighted)(a),
      curvature: jvp(grad(weighted), [a], [b])[1],
    });
    const [first, direction] = [x.map((t) => slice(t, 0)), u.map((t) => slice(t, 0))];
    return { batched: vmap(one)(x, u), ...(given.heavy ? {} : { single: one(first, direction) }) };
  });
  const single = (t: Tensor): Tensor => cast(t, "float32");
  const expected = flatten("check", await run(xs, us, c));
  const actual = flatten("check", await run(xs.map(single), us.map(single), single(c)));
  await run.release();
  const wrong: string[] = [];
  for (const [i, t] of actual.leaves.entries()) {
    const off = farthest(await data(t), await data(expected.leaves[i]!), given.singleTolerance ?? 1e-4);
    if (off) wrong.push(`float32 ${actual.shape.paths[i]}: ${off}`);
  }
  return wrong;
}

/**
 * Violated claims about the derivatives of a function: first order (both modes) and second order (every nesting of
 * modes) against central differences in float64, and `vmap` of all of it against single calls.
 */
export async function wrongDerivatives(given: DerivativeCase): Promise<string[]> {
  const { tolerance = 2e-6 } = given;
  const { xs, us, c } = argumentsOf(given);
  let names: string[] = [];
  const run = jit((x: Tensor[], u: Tensor[], weights: Tensor) => {
    const claims = claimsOf(given, x, u, weights);
    names = claims.map(([what, a, b]) => {
      if (a.shape.join() !== b.shape.join()) throw new Error(`${what}: ${a.toString()}, not ${b.toString()}`);
      return what;
    });
    return claims.map(([, a, b]) => [reshape(a, [a.size]), reshape(b, [b.size])] as const);
  });
  const results = await run(xs, us, c);
  await run.release();
  const wrong: string[] = [];
  for (const [i, [actual, expected]] of results.entries()) {
    const [a, b] = [await data(actual), await data(expected)];
    const difference = farthest(a, b, tolerance);
    if (difference) wrong.push(`${names[i]}: ${difference}`);
  }
  return wrong;
}
