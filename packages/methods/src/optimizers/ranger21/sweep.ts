import {
  add,
  data,
  jit,
  mean,
  mul,
  random,
  reshape,
  scan,
  stack,
  type Tensor,
  tensor,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import { accuracy, cnn, crossEntropy, mlp } from "@prior-art/toolkit/nn";
import {
  type AnyOptimizer,
  adamw,
  shuffledBatches,
  trainSteps,
  warmupCosine,
} from "@prior-art/toolkit/optim";
import { type DigitParts, digitParts, type LabelledPart } from "../cells.ts";
import { type Components, exploreExploitSchedule, NONE, PUBLISHED, ranger21, warmupSteps } from "./method.ts";
import { residualNet } from "./residualNet.ts";

export type Part = keyof Components;

/** `ranger` has the parts that the paper has, `without` all of these but one; `only` is AdamW with one of them. */
export type Rule =
  | "ranger"
  | "adamw"
  | "adamwWarmCosine"
  | { readonly only: Part }
  | { readonly without: Part };

export const PARTS = (Object.keys(PUBLISHED) as Part[]).filter((part) => PUBLISHED[part]);

interface Network {
  // biome-ignore lint/suspicious/noExplicitAny: each network has parameters of its own type
  init(key: Tensor): any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  apply(params: any, x: Tensor): Tensor;
}

export type Net = "mlp" | "narrow" | "cnn" | "deep";

function networkOf(net: Net, depth: number): Network {
  if (net === "mlp") return mlp({ sizes: [64, 128, 128, 10] });
  if (net === "narrow") return mlp({ sizes: [64, 64, 64, 10] });
  if (net === "deep") return residualNet({ inputs: 64, width: 64, depth, classes: 10 });
  const images = cnn({ image: [1, 8, 8], classes: 10, filters: [8, 16, 16] });
  return {
    init: images.init,
    apply: (params, x) => images.apply(params, reshape(x, [x.shape[0]!, 1, 8, 8])),
  };
}

// biome-ignore lint/suspicious/noExplicitAny: as above
function optimizerOf(rule: Rule, learningRate: Tensor, totalSteps: number): AnyOptimizer<any, any> {
  switch (rule) {
    case "ranger":
      return ranger21({ learningRate, totalSteps, components: PUBLISHED });
    case "adamw":
      return adamw({ learningRate: exploreExploitSchedule({ learningRate, totalSteps }) });
    case "adamwWarmCosine": {
      const shape = warmupCosine(1, warmupSteps({ totalSteps }), totalSteps);
      // From the first step on, as Ranger21's warm-up, not from 0.
      return adamw({ learningRate: (step) => mul(learningRate, shape(add(step, 1))) });
    }
    default: {
      const components =
        "only" in rule ? { ...NONE, [rule.only]: true } : { ...PUBLISHED, [rule.without]: false };
      return ranger21({ learningRate, totalSteps, components });
    }
  }
}

const BATCH = 64;
const EPOCHS_PER_RUN = 10;

export interface CellCurve {
  /** By epoch; the training loss is the mean over the epoch's batches, each before its step. */
  readonly trainLoss: readonly number[];
  readonly validationLoss: readonly number[];
  /** At the end. */
  readonly validationAccuracy: number;
  readonly testLoss: number;
  readonly testAccuracy: number;
}

/**
 * How uneven a loss curve is where the explore–exploit rate is constant, after the warm-up's 22% and before the warm-down
 * at 72%: root mean square of the second differences of its logarithm, over √6, so that neither a steady fall nor the
 * loss's level counts, and independent deviations of σ about a straight line give σ.
 */
export function roughness(curve: readonly number[]): number {
  const logs = curve
    .slice(Math.ceil(0.22 * curve.length), Math.floor(0.72 * curve.length))
    .map((loss) => Math.log(loss));
  const bends = logs.slice(2).map((value, i) => (value - 2 * logs[i + 1]! + logs[i]!) ** 2);
  return Math.sqrt(bends.reduce((a, b) => a + b, 0) / bends.length / 6);
}

export interface Plan {
  readonly train: number;
  readonly epochs: number;
  /** Blocks of the deep net. */
  readonly depth: number;
  readonly rates: readonly number[];
}

/**
 * Trains a rule at all rates from several initializations, each with an order of batches of its own, side by side; yields
 * the epochs done, returns a curve for each initialization and rate.
 * @param seed of the split into training, validation and test digits. @param starts seeds of the initializations.
 */
export async function* trainRates(
  rule: Rule,
  net: Net,
  { train: examples, epochs, depth, rates }: Plan,
  seed: number,
  starts: readonly number[],
): AsyncGenerator<{ epoch: number; loss: number }, CellCurve[][]> {
  const parts = await digitParts({ train: examples, validation: 500, test: 600, seed });
  const network = networkOf(net, depth);
  const totalSteps = epochs * Math.floor(examples / BATCH);
  const loss = (params: unknown, { x, labels }: LabelledPart): Tensor =>
    crossEntropy(network.apply(params, x), labels);
  const optimizer = (rate: Tensor) => optimizerOf(rule, rate, totalSteps);
  const cells = starts.flatMap((start) => rates.map((rate) => ({ start, rate })));
  const cellRates = tensor(Float32Array.from(cells, ({ rate }) => rate));
  // The losses draw nothing, but steps want keys.
  const stepKeys = random.split(random.key(seed), Math.floor(examples / BATCH));
  /** One tree for each start, as often as there are rates, stacked. */
  const forCells = <T>(of: (start: number) => T): T => {
    const trees = starts.flatMap((start) => new Array<T>(rates.length).fill(of(start)));
    return treeMap((...leaves: Tensor[]) => stack(leaves), trees[0]!, ...(trees.slice(1) as never[]));
  };
  const run = jit(
    vmap(
      (rate: Tensor, params: unknown, state: unknown, part: DigitParts, rows: Tensor) => {
        const training = trainSteps({ loss, optimizer: optimizer(rate) });
        const epoch = ([before, memory]: readonly [unknown, unknown], order: Tensor) => {
          const [trained, last, losses] = training(before, memory, part.train, order, stepKeys);
          return [[trained, last] as const, stack([mean(losses), loss(trained, part.validation)])] as const;
        };
        const [[trained, last], scores] = scan(epoch, [params, state] as const, rows);
        return { params: trained, state: last, scores };
      },
      { inAxes: [0, 0, 0, null, 0] },
    ),
  );
  const finish = jit(
    vmap(
      (params: unknown, { validation, test }: DigitParts) => {
        const held = network.apply(params, test.x);
        return stack([
          accuracy(network.apply(params, validation.x), validation.labels),
          crossEntropy(held, test.labels),
          accuracy(held, test.labels),
        ]);
      },
      { inAxes: [0, null] },
    ),
  );
  /** Of each cell, training and validation loss by turns. */
  const history = cells.map((): number[] => []);
  try {
    let params = forCells((start) => network.init(random.key(start)));
    let state: unknown = vmap((rate: Tensor, p: unknown) => optimizer(rate).init(p))(cellRates, params);
    for (let from = 0; from < epochs; from += EPOCHS_PER_RUN) {
      const count = Math.min(EPOCHS_PER_RUN, epochs - from);
      const rows = forCells((start) =>
        stack(
          Array.from({ length: count }, (_, i) =>
            shuffledBatches(random.fold(random.key(start), from + i + 1), examples, BATCH),
          ),
        ),
      );
      const done = await run(cellRates, params, state, parts, rows);
      [params, state] = [done.params, done.state];
      const scores = (await data(done.scores)) as Float32Array;
      history.forEach((curve, i) => {
        curve.push(...scores.subarray(2 * count * i, 2 * count * (i + 1)));
      });
      const losses = history.map((curve) => curve.at(-2)!).filter(Number.isFinite);
      yield { epoch: from + count, loss: Math.min(...losses) };
    }
    const end = (await data(await finish(params, parts))) as Float32Array;
    const curves = cells.map((_, i) => ({
      trainLoss: history[i]!.filter((_, j) => j % 2 === 0),
      validationLoss: history[i]!.filter((_, j) => j % 2 === 1),
      validationAccuracy: end[3 * i]!,
      testLoss: end[3 * i + 1]!,
      testAccuracy: end[3 * i + 2]!,
    }));
    return starts.map((_, i) => curves.slice(i * rates.length, (i + 1) * rates.length));
  } finally {
    await Promise.all([run.release(), finish.release()]);
  }
}
