import { add, concat, data, mul, random, reshape, type Tensor, zeros } from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { chain, type GradientTransformation, sgd } from "@prior-art/toolkit/optim";
import { type LabelledPart, trainCells } from "../cells.ts";
import { BATCH, digitsOf, heldOutLogits, initial, logitsOf, type Net, norms, penalty } from "./net.ts";

interface Lengths {
  /** `Σ ‖w‖² ‖∇L(w)‖²` over the steps, of each hidden layer. */
  readonly total: Tensor;
}

/** Lets gradients pass, and adds up the squared lengths that they would have at weights of norm 1. */
const lengthsAtNorm1: GradientTransformation<Net, Lengths> = {
  init: () => ({ total: zeros([2]) }),
  update: (g, { total }, p) => {
    const lengths = mul(norms(p), norms(g));
    return [g, { total: add(total, mul(lengths, lengths)) }];
  },
};

const penalizedSgd = (rate: Tensor, lambda: Tensor) => {
  const parts = [lengthsAtNorm1, penalty(lambda), sgd<Net>({ learningRate: rate })] as const;
  return chain<Net, typeof parts>(...parts);
};

export interface CellResult {
  /** Mean over the last fifth of the training: a last step's alone is noise at high rates. */
  readonly testNll: number;
  /** Of the hidden layers, likewise. */
  readonly norms: readonly [number, number];
  /** g̃², the mean squared length of a batch's gradient at weights of norm 1, likewise. */
  readonly squares: readonly [number, number];
}

export interface Sizes {
  readonly train: number;
  readonly epochs: number;
}

export const stepsOf = ({ train, epochs }: Sizes): number => epochs * Math.floor(train / BATCH);

interface Cell extends Readonly<Record<string, number>> {
  readonly rate: number;
  readonly lambda: number;
}

/** SGD at constant rates: every cell's test log loss, norms and gradients. */
export async function* trainGrid(
  cells: readonly Cell[],
  normalized: boolean,
  { train: size, epochs }: Sizes,
  seed: number,
): AsyncGenerator<{ epoch: number; loss: number }, CellResult[]> {
  const { train, test } = await digitsOf(seed, size);
  const epochsPerRun = Math.max(1, Math.floor(epochs / 50));
  const training = trainCells({
    loss: (net: Net, { x, labels }: LabelledPart) => crossEntropy(logitsOf(net, x, normalized), labels),
    optimizer: ({ rate, lambda }) => penalizedSgd(rate, lambda),
    cells,
    params: initial(seed),
    data: train,
    examples: size,
    batchSize: BATCH,
    epochs,
    epochsPerRun,
    key: random.fold(random.key(seed), 1),
    measure: (net: Net, [{ total }]: readonly [Lengths, ...unknown[]]): Tensor => {
      const logits = normalized ? heldOutLogits(net, train.x, test.x) : logitsOf(net, test.x, false);
      return concat([reshape(crossEntropy(logits, test.labels), [1]), norms(net), total]);
    },
  });
  const history: (readonly number[])[][] = [];
  for await (const { epoch, measured } of training) {
    const values = [...(await data(measured!))];
    history.push(cells.map((_, i) => values.slice(5 * i, 5 * i + 5)));
    yield {
      epoch,
      loss: Math.min(
        ...history
          .at(-1)!
          .map((row) => row[0]!)
          .filter(Number.isFinite),
      ),
    };
  }
  const from = Math.floor(0.8 * history.length);
  const late = history.slice(from);
  const steps = stepsOf({ train: size, epochs: late.length * epochsPerRun });
  return cells.map((_, i) => {
    const average = (at: number) => late.reduce((total, rows) => total + rows[i]![at]!, 0) / late.length;
    const growth = (at: number) => (history.at(-1)![i]![at]! - history[from - 1]![i]![at]!) / steps;
    return {
      testNll: average(0),
      norms: [average(1), average(2)],
      squares: [growth(3), growth(4)],
    };
  });
}
