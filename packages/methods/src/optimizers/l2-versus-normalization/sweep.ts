import {
  abs,
  add,
  cast,
  concat,
  data,
  div,
  grad,
  item,
  matmul,
  max,
  mean,
  mul,
  ones,
  random,
  relu,
  reshape,
  scan,
  sqrt,
  stack,
  sub,
  sum,
  type Tensor,
  take,
  zeros,
} from "@prior-art/tensor";
import { crossEntropy, initializers } from "@prior-art/toolkit/nn";
import {
  adam,
  applyUpdates,
  chain,
  type GradientTransformation,
  momentum,
  sgd,
  shuffledBatches,
  stateless,
} from "@prior-art/toolkit/optim";
import { digitParts, type LabelledPart, trainCells } from "../cells.ts";
import { normalizedLinear, predictNorm, withUnitNorm } from "./method.ts";

const SIZES = [64, 128, 128, 10] as const;
const BATCH = 64;
/** Frobenius norm of the hidden layers at the start, where a normalization makes it free. */
const START = 1;

interface Net {
  /** `[inputs, outputs]` of the hidden layers, which the penalty is on. */
  readonly hidden: readonly Tensor[];
  readonly gains: readonly Tensor[];
  readonly biases: readonly Tensor[];
  readonly out: { readonly weight: Tensor; readonly bias: Tensor };
}

/**
 * He's initialization, with hidden layers of norm `START` when a normalization makes their scale free: at He's norm of 16
 * the effective rate is so low that a norm nears its equilibrium only after many thousand steps.
 */
function initial(seed: number, dtype: "float32" | "float64" = "float32", start?: number): Net {
  const key = random.key(seed);
  const weight = (i: number) => initializers.he()(random.fold(key, i), [SIZES[i]!, SIZES[i + 1]!], dtype);
  return {
    hidden: [weight(0), weight(1)].map((w) => (start ? mul(div(start, sqrt(sum(mul(w, w)))), w) : w)),
    gains: [ones([SIZES[1]], dtype), ones([SIZES[2]], dtype)],
    biases: [zeros([SIZES[1]], dtype), zeros([SIZES[2]], dtype)],
    out: { weight: weight(2), bias: zeros([SIZES[3]], dtype) },
  };
}

/** Logits; a normalized net takes means and variances from the rows of `x`. */
function logitsOf({ hidden, gains, biases, out }: Net, x: Tensor, normalized: boolean, eps = 1e-5): Tensor {
  const last = hidden.reduce((h, w, i) => {
    const z = normalized
      ? normalizedLinear(h, w, { gain: gains[i]!, bias: biases[i]!, eps })
      : add(matmul(h, w), biases[i]!);
    return relu(z);
  }, x);
  return add(matmul(last, out.weight), out.bias);
}

/** Logits of held-out examples, normalized by the statistics of the training set. */
function heldOutLogits(net: Net, train: Tensor, x: Tensor, eps = 1e-5): Tensor {
  let [known, held] = [train, x];
  net.hidden.forEach((w, i) => {
    const z = matmul(known, w);
    const centre = mean(z, 0);
    const deviation = sqrt(add(mean(mul(sub(z, centre), sub(z, centre)), 0), eps));
    const layer = (h: Tensor): Tensor =>
      relu(add(mul(net.gains[i]!, div(sub(matmul(h, w), centre), deviation)), net.biases[i]!));
    [known, held] = [layer(known), layer(held)];
  });
  return add(matmul(held, net.out.weight), net.out.bias);
}

/** The gradient of `λ‖w‖²` on the hidden layers. */
const penalty = (lambda: number | Tensor): GradientTransformation<Net, null> =>
  stateless((g, p) => ({
    ...g,
    hidden: g.hidden.map((t, i) => add(t, mul(2, mul(lambda, p.hidden[i]!)))),
  }));

const penalizedSgd = (
  rate: number | Tensor,
  lambda: number | Tensor,
): GradientTransformation<Net, unknown> => {
  const parts: GradientTransformation<Net, unknown>[] = [penalty(lambda), sgd<Net>({ learningRate: rate })];
  return chain<Net, typeof parts>(...parts);
};

const norms = (net: Net): Tensor => stack(net.hidden.map((w) => sqrt(sum(mul(w, w)))));

export interface CellResult {
  readonly testNll: number;
  /** Of the hidden layers, over the last fifth of the training. */
  readonly norms: readonly [number, number];
}

export interface Sizes {
  readonly train: number;
  readonly epochs: number;
}

interface Cell extends Readonly<Record<string, number>> {
  readonly rate: number;
  readonly lambda: number;
}

const parts = (seed: number, train: number) => digitParts({ train, validation: 0, test: 900, seed });

/** SGD at constant rates: every cell's test log loss and norms. */
export async function* trainGrid(
  cells: readonly Cell[],
  normalized: boolean,
  { train: size, epochs }: Sizes,
  seed: number,
): AsyncGenerator<{ epoch: number; loss: number }, CellResult[]> {
  const { train, test } = await parts(seed, size);
  const training = trainCells({
    loss: (net: Net, { x, labels }: LabelledPart) => crossEntropy(logitsOf(net, x, normalized), labels),
    optimizer: ({ rate, lambda }) => penalizedSgd(rate, lambda),
    cells,
    params: initial(seed, "float32", normalized ? START : undefined),
    data: train,
    examples: size,
    batchSize: BATCH,
    epochs,
    epochsPerRun: Math.max(1, Math.floor(epochs / 50)),
    key: random.fold(random.key(seed), 1),
    measure: (net: Net): Tensor => {
      const logits = normalized ? heldOutLogits(net, train.x, test.x) : logitsOf(net, test.x, false);
      return concat([reshape(crossEntropy(logits, test.labels), [1]), norms(net)]);
    },
  });
  const history: Float32Array[] = [];
  for await (const { epoch, measured } of training) {
    history.push((await data(measured!)) as Float32Array);
    yield { epoch, loss: Math.min(...cells.map((_, i) => history.at(-1)![3 * i]!).filter(Number.isFinite)) };
  }
  const late = history.slice(Math.floor(0.8 * history.length));
  const average = (at: number) => late.reduce((total, row) => total + row[at]!, 0) / late.length;
  return cells.map((_, i) => ({
    testNll: history.at(-1)![3 * i]!,
    norms: [average(3 * i + 1), average(3 * i + 2)],
  }));
}

type Part64 = { readonly x: Tensor; readonly labels: Tensor };

async function float64Parts(seed: number, size: number): Promise<{ train: Part64; test: Part64 }> {
  const { train, test } = await parts(seed, size);
  const wide = ({ x, labels }: LabelledPart): Part64 => ({ x: cast(x, "float64"), labels });
  return { train: wide(train), test: wide(test) };
}

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

export const RULES: Readonly<Record<"sgd" | "momentum" | "adam", Rule>> = {
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
  const { train } = await float64Parts(seed, 256);
  const start = initial(seed, "float64");
  const batches = concat(
    Array.from({ length: Math.ceil(steps / 4) }, (_, i) =>
      shuffledBatches(random.fold(random.key(seed), i), 256, BATCH),
    ),
  );
  const run = (scale: number, hiddenFactor: number): Tensor => {
    const optimizer = split(RULES[rule](hiddenFactor * rate), RULES[rule](rate));
    const params = { ...start, hidden: start.hidden.map((w) => mul(scale, w)) };
    const step = ({ p, s }: { p: Net; s: readonly [unknown, unknown] }, rows: Tensor) => {
      const slope = grad((net: Net) =>
        crossEntropy(logitsOf(net, take(train.x, rows), true, 0), take(train.labels, rows)),
      )(p);
      const [g] = penalty(lambda / scale ** 2).update(slope, null, p);
      const [updates, next] = optimizer.update(g, s, p);
      const after = applyUpdates(p, updates);
      return [{ p: after, s: next }, logitsOf(after, train.x, true, 0)] as const;
    };
    return scan(step, { p: params, s: optimizer.init(params) }, batches)[1];
  };
  return item(max(abs(sub(run(1, 1), run(alpha, factor)))));
}

/** Largest relative error of the recursion for the norm, from the measured gradients, over float64 steps of SGD. */
export async function recursionError(steps: number, seed: number): Promise<number> {
  const [rate, lambda] = [0.1, 1e-2];
  const { train } = await float64Parts(seed, 256);
  const params = initial(seed, "float64");
  const batches = concat(
    Array.from({ length: Math.ceil(steps / 4) }, (_, i) =>
      shuffledBatches(random.fold(random.key(seed), i), 256, BATCH),
    ),
  );
  const optimizer = penalizedSgd(rate, lambda);
  const [last, history] = scan(
    ({ p, s }: { p: Net; s: unknown }, rows: Tensor) => {
      const slope = grad((net: Net) =>
        crossEntropy(logitsOf(net, take(train.x, rows), true, 0), take(train.labels, rows)),
      )(p);
      const [updates, next] = optimizer.update(slope, s, p);
      const lengths = mul(norms(p), norms({ ...p, hidden: slope.hidden }));
      return [{ p: applyUpdates(p, updates), s: next }, stack([norms(p), lengths])] as const;
    },
    { p: params, s: optimizer.init(params) },
    batches,
  );
  const values = [...(await data(history))];
  const end = [...(await data(norms(last.p)))];
  const count = batches.shape[0]!;
  const errors = [0, 1].flatMap((layer) => {
    const measured = Array.from({ length: count }, (_, t) => values[4 * t + layer]!);
    const gTilde = Array.from({ length: count }, (_, t) => values[4 * t + 2 + layer]!);
    const predicted = predictNorm({ lr: rate, lambda, gTilde, w0: measured[0]!, steps: count });
    return [...measured, end[layer]!].map((value, t) => Math.abs(value / predicted[t]! - 1));
  });
  return Math.max(...errors);
}

/** Spread of the test log loss over penalties, when hidden layers stay at norm 1; float64. */
export async function unitNormSpread(epochs: number, seed: number): Promise<number> {
  const { train, test } = await float64Parts(seed, 256);
  const start = initial(seed, "float64");
  const batches = concat(
    Array.from({ length: epochs }, (_, i) => shuffledBatches(random.fold(random.key(seed), i), 256, BATCH)),
  );
  const run = (lambda: number): Tensor => {
    const optimizer = withUnitNorm(penalizedSgd(0.05, lambda), (path) => path.startsWith("hidden"));
    const [{ p }] = scan(
      ({ p: now, s }: { p: Net; s: unknown }, rows: Tensor) => {
        const slope = grad((net: Net) =>
          crossEntropy(logitsOf(net, take(train.x, rows), true, 0), take(train.labels, rows)),
        )(now);
        const [updates, next] = optimizer.update(slope, s, now);
        return [{ p: applyUpdates(now, updates), s: next }, null];
      },
      { p: start, s: optimizer.init(start) },
      batches,
    );
    return crossEntropy(heldOutLogits(p, train.x, test.x, 0), test.labels);
  };
  const losses = [...(await data(stack([0, 1e-4, 1e-3, 1e-2, 1e-1].map(run))))];
  return Math.max(...losses) - Math.min(...losses);
}
