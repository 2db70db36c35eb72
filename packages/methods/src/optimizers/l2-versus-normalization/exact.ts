import {
  abs,
  cast,
  concat,
  data,
  div,
  grad,
  item,
  max,
  mul,
  random,
  scan,
  slice,
  stack,
  sub,
  type Tensor,
  take,
  treeMap,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import {
  adam,
  applyUpdates,
  type GradientTransformation,
  momentum,
  sgd,
  shuffledBatches,
  stateless,
} from "@prior-art/toolkit/optim";
import type { LabelledPart } from "../cells.ts";
import { predictNorm, type Select, withUnitNorm } from "./method.ts";
import { BATCH, digitsOf, heldOutLogits, initial, logitsOf, type Net, norms, penalty } from "./net.ts";

const EXAMPLES = 256;

async function float64Digits(seed: number): Promise<{ train: LabelledPart; test: LabelledPart }> {
  const { train, test } = await digitsOf(seed, EXAMPLES);
  const wide = ({ x, labels }: LabelledPart): LabelledPart => ({ x: cast(x, "float64"), labels });
  return { train: wide(train), test: wide(test) };
}

/** Rows of `steps` batches, rounded up to whole epochs. */
const batchesOf = (seed: number, steps: number): Tensor =>
  concat(
    Array.from({ length: Math.ceil((steps * BATCH) / EXAMPLES) }, (_, i) =>
      shuffledBatches(random.fold(random.key(seed), i), EXAMPLES, BATCH),
    ),
  );

/** The gradient of a batch's loss. */
const slopeAt = ({ x, labels }: LabelledPart, rows: Tensor, net: Net, normalized = true): Net =>
  grad((p: Net) => crossEntropy(logitsOf(p, take(x, rows), normalized, 0), take(labels, rows)))(net);

/** Hidden layers by one rule, all else by another. */
const split = (
  hidden: GradientTransformation<readonly Tensor[], unknown>,
  rest: GradientTransformation<Omit<Net, "hidden">, unknown>,
): GradientTransformation<Net, readonly [unknown, unknown]> => ({
  init: ({ hidden: w, ...others }) => [hidden.init(w), rest.init(others)],
  update: ({ hidden: g, ...gradients }, [a, b], { hidden: w, ...others }) => {
    const [u, nextA] = hidden.update(g, a, w);
    const [v, nextB] = rest.update(gradients, b, others);
    return [{ hidden: u, ...v }, [nextA, nextB]];
  },
});

type Rule = <P>(rate: number) => GradientTransformation<P, unknown>;

const RULES: Readonly<Record<"sgd" | "momentum" | "adam", Rule>> = {
  sgd: (learningRate) => sgd({ learningRate }),
  momentum: (learningRate) => momentum({ learningRate }),
  adam: (learningRate) => adam({ learningRate, eps: 0 }),
};

/**
 * Largest difference of training logits, in float64 after each of `steps` steps, between (w₀, λ, η) and
 * (αw₀, λ/α², `factor`·η) for the hidden layers.
 */
export async function rescaledGap(
  rule: keyof typeof RULES,
  factor: number,
  steps: number,
  seed: number,
): Promise<number> {
  const alpha = 2.5;
  const [rate, lambda] = [rule === "adam" ? 2e-3 : 0.05, 1e-2];
  const { train } = await float64Digits(seed);
  const start = initial(seed, "float64");
  const run = (scale: number, hiddenFactor: number): Tensor => {
    const optimizer = split(RULES[rule](hiddenFactor * rate), RULES[rule](rate));
    const params = { ...start, hidden: start.hidden.map((w) => mul(scale, w)) };
    const step = ({ p, s }: { p: Net; s: readonly [unknown, unknown] }, rows: Tensor) => {
      const [g] = penalty(lambda / scale ** 2).update(slopeAt(train, rows, p), null, p);
      const [updates, next] = optimizer.update(g, s, p);
      const after = applyUpdates(p, updates);
      return [{ p: after, s: next }, logitsOf(after, train.x, true, 0)] as const;
    };
    return scan(step, { p: params, s: optimizer.init(params) }, batchesOf(seed, steps))[1];
  };
  return item(max(abs(sub(run(1, 1), run(alpha, factor)))));
}

/** Largest relative error of the recursion for the norm, from the measured gradients, over float64 steps of SGD. */
export async function recursionError(steps: number, seed: number): Promise<number> {
  const [rate, lambda] = [0.1, 1e-2];
  const { train } = await float64Digits(seed);
  const optimizer = sgd<Net>({ learningRate: rate });
  const params = initial(seed, "float64");
  const [last, history] = scan(
    ({ p, s }: { p: Net; s: ReturnType<typeof optimizer.init> }, rows: Tensor) => {
      const slope = slopeAt(train, rows, p);
      const [updates, next] = optimizer.update(penalty(lambda).update(slope, null, p)[0], s, p);
      const lengths = mul(norms(p), norms(slope));
      return [{ p: applyUpdates(p, updates), s: next }, stack([norms(p), lengths])] as const;
    },
    { p: params, s: optimizer.init(params) },
    batchesOf(seed, steps),
  );
  const values = [...(await data(history))];
  const end = [...(await data(norms(last.p)))];
  const count = values.length / 4;
  const errors = [0, 1].flatMap((layer) => {
    const measured = Array.from({ length: count }, (_, t) => values[4 * t + layer]!);
    const gTilde = Array.from({ length: count }, (_, t) => values[4 * t + 2 + layer]!);
    const predicted = predictNorm({ lr: rate, lambda, gTilde, w0: measured[0]!, steps: count });
    return [...measured, end[layer]!].map((value, t) => Math.abs(value / predicted[t]! - 1));
  });
  return Math.max(...errors);
}

const onHidden: Select = (path) => path.startsWith("hidden");

/** The same directions, hidden layers of norm 1. */
function ofUnitNorm(net: Net): Net {
  const lengths = norms(net);
  return { ...net, hidden: net.hidden.map((w, i) => div(w, slice(lengths, i))) };
}

/**
 * Spread of the test log loss over penalties of 0 to 0.1, when SGD's hidden layers are scaled back to norm 1 after every step,
 * in float64. The decay `1 - 2ηλ` would divide the rate; `compensated` rates `η/(1 + 2ηλ)` make up for it.
 */
export async function unitNormSpread(steps: number, seed: number, compensated = true): Promise<number> {
  const { train, test } = await float64Digits(seed);
  const rate = 0.05;
  const run = (lambda: number): Tensor => {
    const base = split(
      sgd({ learningRate: compensated ? rate / (1 + 2 * rate * lambda) : rate }),
      sgd({ learningRate: rate }),
    );
    const optimizer = withUnitNorm(base, onHidden, { project: false });
    const params = ofUnitNorm(initial(seed, "float64"));
    const [{ p }] = scan(
      ({ p: now, s }: { p: Net; s: readonly [unknown, unknown] }, rows: Tensor) => {
        const [g] = penalty(lambda).update(slopeAt(train, rows, now), null, now);
        const [updates, next] = optimizer.update(g, s, now);
        return [{ p: applyUpdates(now, updates), s: next }, null];
      },
      { p: params, s: optimizer.init(params) },
      batchesOf(seed, steps),
    );
    return crossEntropy(heldOutLogits(p, train.x, test.x, 0), test.labels);
  };
  const losses = [...(await data(stack([0, 1e-4, 1e-3, 1e-2, 1e-1].map(run))))];
  return Math.max(...losses) - Math.min(...losses);
}

/**
 * Largest difference of training logits, in float64 after each of `steps` steps and over penalties of 0 to 0.1, between SGD on
 * `L + λ‖w‖²` and SGD on L alone with hidden layers of norm 1 at the effective rate `η/((1 - 2ηλ)‖w‖²)` of each.
 */
export async function effectiveRateGap(steps: number, seed: number, normalized = true): Promise<number> {
  const { train } = await float64Digits(seed);
  const rate = 0.05;
  const start = initial(seed, "float64");
  const outputs = (net: Net): Tensor => logitsOf(net, train.x, normalized, 0);
  const gapOf = (lambda: number): Tensor => {
    const step = ({ free, unit }: { free: Net; unit: Net }, rows: Tensor) => {
      const lengths = norms(free);
      const effective = stateless<Net>((g) => ({
        ...treeMap((t) => mul(-rate, t), g),
        hidden: g.hidden.map((t, i) => {
          const square = mul(slice(lengths, i), slice(lengths, i));
          return mul(div(-rate / (1 - 2 * rate * lambda), square), t);
        }),
      }));
      const [g] = penalty(lambda).update(slopeAt(train, rows, free, normalized), null, free);
      const [u] = withUnitNorm(effective, onHidden, { project: false }).update(
        slopeAt(train, rows, unit, normalized),
        null,
        unit,
      );
      const next = {
        free: applyUpdates(
          free,
          treeMap((t) => mul(-rate, t), g),
        ),
        unit: applyUpdates(unit, u),
      };
      return [next, sub(outputs(next.free), outputs(next.unit))] as const;
    };
    return max(abs(scan(step, { free: start, unit: ofUnitNorm(start) }, batchesOf(seed, steps))[1]));
  };
  return item(max(stack([0, 1e-3, 1e-2, 1e-1].map(gapOf))));
}
