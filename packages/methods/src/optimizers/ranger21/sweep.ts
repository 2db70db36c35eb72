import { data, mul, random, reshape, stack, type Tensor } from "@prior-art/tensor";
import { accuracy, cnn, crossEntropy, mlp } from "@prior-art/toolkit/nn";
import { type AnyOptimizer, adamw, cosineDecay } from "@prior-art/toolkit/optim";
import { digitParts, type LabelledPart, trainCells } from "../cells.ts";
import { ALL, type Components, exploreExploitSchedule, ranger21 } from "./method.ts";
import { residualNet } from "./residualNet.ts";

export type Rule = "ranger" | "adamw" | "adamwCosine" | { readonly without: keyof Components };

/** Six rates for each rule. */
export const RATES = {
  ranger: [1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3],
  adamw: [3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1],
} as const;

export const ratesOf = (rule: Rule): readonly number[] =>
  rule === "adamw" || rule === "adamwCosine" ? RATES.adamw : RATES.ranger;

export const PARTS = Object.keys(ALL) as readonly (keyof Components)[];

interface Network {
  // biome-ignore lint/suspicious/noExplicitAny: each network has parameters of its own type
  init(key: Tensor): any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  apply(params: any, x: Tensor): Tensor;
}

export type Net = "mlp" | "cnn" | "deep";

function networkOf(net: Net, depth: number): Network {
  if (net === "mlp") return mlp({ sizes: [64, 128, 128, 10] });
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
      return ranger21({ learningRate, totalSteps });
    case "adamw":
      return adamw({ learningRate: exploreExploitSchedule({ learningRate, totalSteps }) });
    case "adamwCosine":
      return adamw({
        learningRate: (step) => mul(learningRate, cosineDecay(1, totalSteps)(step)),
      });
    default:
      return ranger21({ learningRate, totalSteps, components: { [rule.without]: false } });
  }
}

const BATCH = 64;

export interface CellCurve {
  /** By epoch. */
  readonly trainLoss: readonly number[];
  readonly validationLoss: readonly number[];
  /** At the end. */
  readonly validationAccuracy: number;
  readonly testLoss: number;
  readonly testAccuracy: number;
}

export interface Plan {
  readonly train: number;
  readonly epochs: number;
  /** Blocks of the deep net. */
  readonly depth: number;
}

/** Trains a rule at all its rates side by side; yields the epochs done, returns a curve for each rate. */
export async function* trainRates(
  rule: Rule,
  net: Net,
  { train: examples, epochs, depth }: Plan,
  seed: number,
  rates: readonly number[] = ratesOf(rule),
): AsyncGenerator<{ epoch: number; loss: number }, CellCurve[]> {
  const { train, validation, test } = await digitParts({ train: examples, validation: 300, test: 600, seed });
  const network = networkOf(net, depth);
  const steps = epochs * Math.floor(examples / BATCH);
  const loss = (params: unknown, { x, labels }: LabelledPart): Tensor =>
    crossEntropy(network.apply(params, x), labels);
  const training = trainCells({
    loss,
    optimizer: ({ learningRate }) => optimizerOf(rule, learningRate, steps),
    cells: rates.map((learningRate) => ({ learningRate })),
    params: network.init(random.key(seed)),
    data: train,
    examples,
    batchSize: BATCH,
    epochs,
    epochsPerRun: 1,
    key: random.fold(random.key(seed), 1),
    measure: (params: unknown): Tensor => {
      const [known, held] = [network.apply(params, validation.x), network.apply(params, test.x)];
      return stack([
        loss(params, train),
        crossEntropy(known, validation.labels),
        accuracy(known, validation.labels),
        crossEntropy(held, test.labels),
        accuracy(held, test.labels),
      ]);
    },
  });
  const history: Float32Array[] = [];
  for await (const { epoch, measured } of training) {
    const values = (await data(measured!)) as Float32Array;
    history.push(values);
    yield { epoch, loss: Math.min(...rates.map((_, i) => values[5 * i]!).filter(Number.isFinite)) };
  }
  const end = history.at(-1)!;
  return rates.map((_, i) => ({
    trainLoss: history.map((row) => row[5 * i]!),
    validationLoss: history.map((row) => row[5 * i + 1]!),
    validationAccuracy: end[5 * i + 2]!,
    testLoss: end[5 * i + 3]!,
    testAccuracy: end[5 * i + 4]!,
  }));
}
