import {
  add,
  broadcastTo,
  cast,
  clip,
  concat,
  data,
  equal,
  expandDims,
  grad,
  jit,
  logSoftmax,
  min,
  mul,
  ones,
  pad,
  random,
  reshape,
  scan,
  slice,
  sub,
  type Tensor,
  take,
  tensor,
  treeMap,
  where,
} from "@prior-art/tensor";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { type PolicyObjective, pick } from "@prior-art/toolkit/lm";
import { randomStream } from "@prior-art/toolkit/stats";

const PROMPTS = 16;
const GROUP = 8;
const COMPLETIONS = PROMPTS * GROUP;
const ROUTES = 4;
/** First tokens: four routes, then noise. */
const VOCABULARY = 64;
/** Share of the first token that goes to noise, whatever is learned. */
const TAIL = 0.25;
const STEPS = 3;
const CHOICES = 16;
/** Success of the common route, whatever follows. */
const COIN = 0.4;
const RULED_OUT = -1e4;

/** What is trained. */
interface RoutePolicy {
  /** Logits of the routes, `[prompts, 4]`. */
  readonly routes: Tensor;
  /** Logits of what follows routes 1 to 3, `[prompts · 3, 3, 16]`. */
  readonly follow: Tensor;
}

interface Answers {
  /** int32 `[completions, 4]` */
  readonly tokens: Tensor;
  readonly mask: Tensor;
  readonly rewards: Tensor;
}

/**
 * A tabular world of 16 prompts: a common route succeeds by a coin of .4; of three rare ones, one (another for each prompt)
 * succeeds for certain, once the three tokens after it are right, which at first they are with probability .6 each. So the
 * rare right route starts out worse than the common one. A quarter of all first tokens is noise that always fails.
 */
function world(seed: number) {
  const stream = randomStream(seed, "two routes");
  const rightRoute = Int32Array.from({ length: PROMPTS }, () => 1 + stream.integer(ROUTES - 1));
  const rightTokens = Int32Array.from({ length: PROMPTS * STEPS }, () => stream.integer(CHOICES));
  const follow = new Float32Array(PROMPTS * (ROUTES - 1) * STEPS * CHOICES).fill(
    Math.log(0.4 / (CHOICES - 1)),
  );
  for (let row = 0; row < PROMPTS * (ROUTES - 1); row++)
    for (let step = 0; step < STEPS; step++) {
      const prompt = Math.floor(row / (ROUTES - 1));
      follow[(row * STEPS + step) * CHOICES + rightTokens[prompt * STEPS + step]!] = Math.log(0.6);
    }
  const start: RoutePolicy = {
    routes: tensor(
      Float32Array.from({ length: PROMPTS * ROUTES }, (_, i) => Math.log(i % ROUTES ? 0.05 : 0.85)),
      {
        shape: [PROMPTS, ROUTES],
      },
    ),
    follow: tensor(follow, { shape: [PROMPTS * (ROUTES - 1), STEPS, CHOICES] }),
  };
  return { start, rightRoute, rightTokens };
}

const prompts = Int32Array.from({ length: COMPLETIONS }, (_, i) => Math.floor(i / GROUP));

/** Log-probabilities of first tokens, `[completions, 64]`. */
function firstLogits({ routes }: RoutePolicy): Tensor {
  const chosen = add(take(logSoftmax(routes), tensor(prompts)), Math.log(1 - TAIL));
  const noise = Math.log(TAIL / (VOCABULARY - ROUTES));
  return pad(chosen, [[0, 0], [0, VOCABULARY - ROUTES]], noise); // biome-ignore format: one pair an axis
}

/** Logits of the tokens after a first token, `[completions, 3, 16]`; those after no rare route are never used. */
function followLogits({ follow }: RoutePolicy, first: Tensor): Tensor {
  const route = clip(sub(first, 1), 0, ROUTES - 2);
  return take(follow, add(tensor(prompts.map((p) => p * (ROUTES - 1))), route));
}

/** Logits that each token was drawn from, `[completions, 4, 64]`. */
function logitsOf(policy: RoutePolicy, tokens: Tensor): Tensor {
  const later = pad(
    followLogits(policy, slice(tokens, null, 0)),
    [[0, 0], [0, 0], [0, VOCABULARY - CHOICES]], // biome-ignore format: one pair an axis
    RULED_OUT,
  );
  return concat([expandDims(firstLogits(policy), 1), later], 1);
}

export interface TwoRoutesOptions {
  readonly objective: PolicyObjective;
  readonly learningRate: number;
  readonly rollouts: number;
  /** Gradient steps on each rollout. */
  readonly updates: number;
  readonly seed: number;
}

export interface TwoRoutesResult {
  /** Success where the first token is no noise, exact, mean over prompts. */
  readonly success: number;
  /** Probability of the right rare route where the first token is no noise. */
  readonly spark: number;
  /** The same every tenth rollout. */
  readonly sparkCurve: readonly number[];
}

/** Trains by gradient descent; eight answers for each prompt a rollout. */
export async function playTwoRoutes(options: TwoRoutesOptions): Promise<TwoRoutesResult> {
  const { objective, learningRate, rollouts, updates, seed } = options;
  const { start, rightRoute, rightTokens } = world(seed);
  const routeOf = tensor(Int32Array.from(prompts, (p) => rightRoute[p]!));
  const wanted = tensor(
    Int32Array.from(
      { length: COMPLETIONS * STEPS },
      (_, i) => rightTokens[prompts[Math.floor(i / STEPS)]! * STEPS + (i % STEPS)]!,
    ),
    { shape: [COMPLETIONS, STEPS] },
  );

  const draw = (policy: RoutePolicy, key: Tensor): Answers => {
    const [firstKey, laterKey, coinKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
    const first = random.categorical(firstKey, firstLogits(policy));
    const later = random.categorical(laterKey, followLogits(policy, first));
    const isRare = cast(equal(clip(first, 1, ROUTES - 1), first), "float32");
    const right = min(cast(equal(later, wanted), "float32"), -1);
    const spark = mul(cast(equal(first, routeOf), "float32"), right);
    const coin = cast(random.bernoulli(coinKey, COIN, [COMPLETIONS]), "float32");
    return {
      tokens: concat([expandDims(first, 1), later], 1),
      mask: concat([ones([COMPLETIONS, 1]), broadcastTo(expandDims(isRare, 1), [COMPLETIONS, STEPS])], 1),
      rewards: where(equal(first, 0), coin, spark),
    };
  };
  const sparkNow = ({ routes }: RoutePolicy): Tensor => pick(logSoftmax(routes), tensor(rightRoute));

  const train = jit((policy: RoutePolicy, rate: Tensor, keys: Tensor) =>
    scan(
      (before: RoutePolicy, key: Tensor) => {
        const { tokens, mask, rewards } = draw(before, key);
        const oldLogits = logitsOf(before, tokens);
        const oldLogProbabilities = pick(logSoftmax(oldLogits), tokens);
        const gradient = grad((p: RoutePolicy) => {
          const logits = logitsOf(p, tokens);
          return objective({
            logits,
            logProbabilities: pick(logSoftmax(logits), tokens),
            oldLogits,
            oldLogProbabilities,
            referenceLogProbabilities: oldLogProbabilities,
            mask,
            rewards,
            group: GROUP,
          });
        });
        let after = before;
        for (let i = 0; i < updates; i++)
          after = treeMap((p, g) => sub(p, mul(rate, g)), after, gradient(after));
        return [after, sparkNow(after)] as const;
      },
      policy,
      keys,
    ),
  );
  const [trained, sparks] = await train(
    start,
    tensor(learningRate),
    random.split(random.key(seed), rollouts),
  );
  await train.release();

  const routes = await data(logSoftmax(trained.routes));
  const follow = await data(logSoftmax(trained.follow));
  let [success, spark] = [0, 0];
  for (let p = 0; p < PROMPTS; p++) {
    const chosen = Math.exp(routes[p * ROUTES + rightRoute[p]!]!);
    let sure = 1;
    for (let step = 0; step < STEPS; step++) {
      const row = (p * (ROUTES - 1) + rightRoute[p]! - 1) * STEPS + step;
      sure *= Math.exp(follow[row * CHOICES + rightTokens[p * STEPS + step]!]!);
    }
    spark += chosen / PROMPTS;
    success += (COIN * Math.exp(routes[p * ROUTES]!) + chosen * sure) / PROMPTS;
  }
  if (!Number.isFinite(success)) throw new DivergedError(`the success is ${success}`);
  const logs = await data(reshape(sparks, [rollouts * PROMPTS]));
  const sparkCurve = Array.from({ length: Math.floor(rollouts / 10) }, (_, i) => {
    const row = logs.subarray((10 * i + 9) * PROMPTS, (10 * i + 10) * PROMPTS);
    return Array.from(row, Math.exp).reduce((sum, p) => sum + p, 0) / PROMPTS;
  });
  return { success, spark, sparkCurve };
}
