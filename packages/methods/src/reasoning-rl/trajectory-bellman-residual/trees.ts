import {
  add,
  broadcastTo,
  data,
  expandDims,
  grad,
  jit,
  log,
  logSoftmax,
  mul,
  neg,
  scan,
  stopGradient,
  sum,
  type Tensor,
  take,
  tensor,
  vmap,
  zeros,
} from "@prior-art/tensor";
import {
  dirichlet,
  gibbsPolicy,
  pick,
  sequenceKl,
  sequenceLogProbability,
  sequences,
  type TokenPolicy,
  tokenPolicy,
  tokenProcess,
} from "@prior-art/toolkit/lm";
import { adam } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import { tbrmLoss, tokenBrmLoss } from "./method.ts";

const DEPTH = 5;
const BRANCHES = 3;
export const BETAS = [0.1, 0.3, 1];

/** What is minimized: the method, residuals token by token, or REINFORCE that takes the data for its own. */
export type Loss = "tbrm" | "tokenBrm" | "policyGradient";
/** How trajectories are weighed: all alike, or by the reference's probability squared. */
export type DataLaw = "uniform" | "skewed";

/** Five tokens of three, a random reward of 0 or 1 for each whole sequence, and a random reference. */
function randomTree(seed: number) {
  const stream = randomStream(seed, "tree");
  const process = tokenProcess<string>({
    vocabulary: BRANCHES,
    start: "",
    key: (s) => s,
    step: (prefix, token) =>
      prefix.length + 1 < DEPTH
        ? { next: prefix + token, reward: 0 }
        : { next: null, reward: stream.uniform() < 0.5 ? 1 : 0 },
  });
  return { process, reference: tokenPolicy(process, () => dirichlet(stream, BRANCHES, 1)) };
}

export interface TreeFit {
  /** KL of the learned policy to the optimum, nats a sequence, by β. */
  readonly kl: readonly number[];
  /** Distance of `V_θ(s₁)` from the optimal value, by β. */
  readonly valueError: readonly number[];
  /** The largest KL over β as training goes on, every hundredth step. */
  readonly klCurve: readonly number[];
}

export interface FitOptions {
  readonly loss: Loss;
  readonly law: DataLaw;
  readonly steps: number;
  readonly learningRate: number;
  readonly seed: number;
}

/** Trains a table of logits from the reference on all 243 trajectories of a tree, by Adam, for all β side by side. */
export async function fitTree({ loss, law, steps, learningRate, seed }: FitOptions): Promise<TreeFit> {
  const { process, reference } = randomTree(seed);
  const { vocabulary, next, states } = process;
  const all = [...sequences(process, reference)];
  const raw = all.map(({ probability }) => (law === "uniform" ? 1 : probability ** 2));
  const total = raw.reduce((a, b) => a + b, 0);
  const shape = [all.length, DEPTH];
  /** State before each token. */
  const visited = all.flatMap(({ tokens }) => {
    let state = 0;
    return tokens.map((token) => {
      const here = state;
      state = next[here * vocabulary + token]!;
      return here;
    });
  });
  const tokens = tensor(Int32Array.from(all.flatMap((s) => s.tokens)), { shape });
  const at = tensor(Int32Array.from(visited), { shape });
  const double = (values: ArrayLike<number>, size: readonly number[]): Tensor =>
    tensor(Float64Array.from(values), { shape: size });
  const table = double(reference, [states.length, vocabulary]);
  const weights = double(
    raw.map((w) => (w / total) * all.length),
    [all.length],
  );
  const rewards = double(
    all.map((s) => s.reward),
    [all.length],
  );
  const mask = double(new Float64Array(all.length * DEPTH).fill(1), shape);
  const referenceLogProbabilities = pick(take(log(table), at), tokens);

  const objective = (logits: Tensor, beta: Tensor): Tensor => {
    const own = take(logits, at);
    const logProbabilities = pick(logSoftmax(own), tokens);
    const rows = { logits: own, logProbabilities, referenceLogProbabilities, mask, rewards };
    if (loss === "policyGradient") {
      const ratio = sequenceLogProbability(add(logProbabilities, neg(referenceLogProbabilities)), mask);
      const penalized = add(rewards, neg(mul(beta, ratio)));
      // The data stand for samples of the policy, so that their expectation is differentiated as if they were.
      const value = neg(mul(stopGradient(penalized), sequenceLogProbability(logProbabilities, mask)));
      return mul(1 / all.length, sum(mul(weights, value)));
    }
    // Weights enter as the square's: `w R²` is `(√w R)²`.
    const each = vmap((row: typeof rows) => {
      const single = {
        logits: expandDims(row.logits, 0),
        logProbabilities: expandDims(row.logProbabilities, 0),
        referenceLogProbabilities: expandDims(row.referenceLogProbabilities, 0),
        mask: expandDims(row.mask, 0),
        rewards: expandDims(row.rewards, 0),
      };
      return (loss === "tbrm" ? tbrmLoss : tokenBrmLoss)(single, beta);
    })(rows);
    return mul(1 / all.length, sum(mul(weights, each)));
  };
  const optimizer = adam<Tensor>({ learningRate });
  const EVERY = 100;
  type State = readonly [logits: Tensor, memory: ReturnType<typeof optimizer.init>];
  const trainOne = (logits: Tensor, beta: Tensor, marks: Tensor): [Tensor, Tensor] => {
    const step = ([x, memory]: State): readonly [State, null] => {
      const gradient = grad((l: Tensor) => objective(l, beta))(x);
      const [update, after] = optimizer.update(gradient, memory, x);
      return [[add(x, update), after], null];
    };
    const [[trained], kept] = scan(
      (state: State, _: Tensor): readonly [State, Tensor] => {
        const [after] = scan(step, state, marksOf(EVERY));
        return [after, after[0]];
      },
      [logits, optimizer.init(logits)] as State,
      marks,
    );
    return [trained, kept];
  };
  const train = jit(vmap(trainOne, { inAxes: [0, 0, null] }));
  const start = broadcastTo(log(table), [BETAS.length, states.length, vocabulary]);
  const [trained, kept] = await train(
    start,
    double(BETAS, [BETAS.length]),
    marksOf(Math.floor(steps / EVERY)),
  );
  await train.release();

  const size = states.length * vocabulary;
  const policyOf = (values: ArrayLike<number>, from: number): TokenPolicy => {
    const logits = Float64Array.from({ length: size }, (_, i) => values[from + i]!);
    return tokenPolicy(process, (state) => {
      const s = states.indexOf(state) * vocabulary;
      const row = logits.subarray(s, s + vocabulary);
      const top = Math.max(...row);
      const weightsOf = row.map((h) => Math.exp(h - top));
      const sumOf = weightsOf.reduce((a, b) => a + b, 0);
      return weightsOf.map((w) => w / sumOf);
    });
  };
  const best = BETAS.map((beta) => gibbsPolicy(process, reference, beta));
  const values = await data(trained);
  const history = await data(kept);
  const marks = history.length / (BETAS.length * size);
  return {
    kl: BETAS.map((_, b) => sequenceKl(process, policyOf(values, b * size), best[b]!.policy)),
    valueError: BETAS.map((beta, b) => {
      const row = Array.from({ length: vocabulary }, (_, v) => values[b * size + v]!);
      const top = Math.max(...row);
      const value = beta * (top + Math.log(row.reduce((s, h) => s + Math.exp(h - top), 0)));
      return Math.abs(value - best[b]!.values[0]!);
    }),
    klCurve: Array.from({ length: marks }, (_, m) =>
      Math.max(
        ...BETAS.map((_, b) =>
          sequenceKl(process, policyOf(history, (b * marks + m) * size), best[b]!.policy),
        ),
      ),
    ),
  };
}

/** Something to scan over. */
const marksOf = (count: number): Tensor => zeros([count]);
