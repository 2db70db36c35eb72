import { add, item, mul, random, slice, softmax, sub, tensor, treeMap, vmap } from "@prior-art/tensor";
import {
  breastCancer,
  type ClassificationDataset,
  digits,
  labelNoise,
  selectEntries,
  selectRows,
  standardize,
  stratifiedSplit,
  wine,
} from "@prior-art/toolkit/data";
import { type Matrix, matrix } from "@prior-art/toolkit/linalg";
import { accuracy, crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import type { Arm } from "./gaussianTask.ts";
import {
  categoricalPolicy,
  mahalanobisReward,
  optimalGaussianReward,
  policyGradientLoss,
  residualCovariance,
  trainPolicies,
} from "./method.ts";

const SETS: readonly (readonly [load: () => Promise<ClassificationDataset>, train: number])[] = [
  [digits, 1000],
  [wine, 100],
  [breastCancer, 350],
];

export const RATES = [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1];

/**
 * Accuracies on three data sets, a fifth of whose training and validation labels is wrong, and the learning rate that was chosen
 * on each by its validation accuracy (the smallest of a tie).
 */
export async function classify(
  arm: Arm,
  seed: number,
  steps: number,
): Promise<{ readonly accuracies: readonly number[]; readonly rates: readonly number[] }> {
  const [accuracies, rates]: [number[], number[]] = [[], []];
  if (arm === "isotropic" || arm === "optimal" || arm === "implicit") return { accuracies, rates };
  for (const [load, size] of SETS) {
    const { features, shape, labels, classNames } = await load();
    const classes = classNames.length;
    const split = stratifiedSplit(labels, { train: size, test: Math.min(500, shape[0] - size), seed });
    const scaler = standardize(selectRows(features, shape, split.train), [split.train.length, shape[1]]);
    const noisy = labelNoise(selectEntries(labels, split.train), { rate: 0.2, classes, seed }).labels;
    const held = Math.round(size / 5);
    const part = (indices: Int32Array, of: Int32Array) => {
      const x = scaler.apply(selectRows(features, shape, indices));
      return {
        x: tensor(x, { shape: [indices.length, shape[1]] }),
        y: tensor(
          Float32Array.from({ length: indices.length * classes }, (_, at) =>
            of[Math.floor(at / classes)] === at % classes ? 1 : 0,
          ),
          { shape: [indices.length, classes] },
        ),
        labels: tensor(of),
      };
    };
    const train = part(split.train.slice(held), noisy.slice(held));
    const validation = part(split.train.slice(0, held), noisy.slice(0, held));
    const test = part(split.test, selectEntries(labels, split.test));
    const model = mlp({ sizes: [shape[1], 64, classes] });
    const common = {
      init: model.init(random.key(seed)),
      data: { x: train.x, y: train.y },
      steps,
      learningRates: RATES,
      batchSize: 100,
      key: random.key(seed + 1),
    };
    const choose = async (stack: MlpParams) => {
      const right = Array.from(
        await vmap((p: MlpParams) => accuracy(model.apply(p, validation.x), validation.labels))(stack).data(),
        Number,
      );
      const at = right.indexOf(Math.max(...right));
      return { params: treeMap((t) => slice(t, at), stack), rate: RATES[at]! };
    };
    const supervised = async (smoothing: number) =>
      choose(
        await trainPolicies({
          ...common,
          loss: (p, { x, y }) => {
            const smooth = add(mul(y, 1 - smoothing), smoothing / classes);
            return crossEntropy(model.apply(p, x), smooth);
          },
        }),
      );
    let best: Awaited<ReturnType<typeof choose>>;
    if (arm === "likelihood" || arm === "smoothing") best = await supervised(arm === "smoothing" ? 0.1 : 0);
    else {
      const u =
        arm === "identity" ? identityHalf(classes) : await learnedDiagonal((await supervised(0)).params);
      const reward = mahalanobisReward(tensor(Float32Array.from(u.values), { shape: [classes, classes] }));
      best = await choose(
        await trainPolicies({
          ...common,
          loss: (p, { x, y }, key) =>
            policyGradientLoss({
              dist: categoricalPolicy(model.apply(p, x)),
              target: y,
              reward,
              transform: "leaveOneOut",
              key,
            }),
        }),
      );
    }
    /** The heuristic on one-hot vectors: U from the residuals of the fit by likelihood. */
    async function learnedDiagonal(params: MlpParams): Promise<Matrix> {
      const gap = sub(train.y, softmax(model.apply(params, train.x)));
      const residuals = Float64Array.from(await gap.data(), Number);
      return optimalGaussianReward(residualCovariance(residuals, classes), 0.01, "diag");
    }
    accuracies.push(await item(accuracy(model.apply(best.params, test.x), test.labels)));
    rates.push(best.rate);
  }
  return { accuracies, rates };
}

function identityHalf(size: number): Matrix {
  const u = matrix(size, size);
  for (let i = 0; i < size; i++) u.values[i * size + i] = 0.5;
  return u;
}
