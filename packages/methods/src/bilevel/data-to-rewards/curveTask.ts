import {
  mean as meanOf,
  neg,
  random,
  reshape,
  slice,
  sub,
  type Tensor,
  tensor,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import { type Matrix, matrix } from "@prior-art/toolkit/linalg";
import { type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { randomStream } from "@prior-art/toolkit/stats";
import { type Arm, correlated, LAMBDA, rewarded, rewardOf, rows } from "./gaussianTask.ts";
import {
  factorOf,
  gaussianPolicy,
  optimalGaussianReward,
  type PolicyData,
  residualCovariance,
  trainPolicies,
} from "./method.ts";

const RATES = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1];

const curveModel = mlp({ sizes: [1, 64, 64, 2], activation: "tanh" });

interface CurveParams {
  readonly network: MlpParams;
  readonly free: Tensor;
}

const curvePolicy = ({ network, free }: CurveParams, x: Tensor) =>
  gaussianPolicy(curveModel.apply(network, x), factorOf(free));

const CURVE_NOISE = [0.09, 0.072, 0.18] as const;

/**
 * `y = (sin 2x, cos x)` and correlated noise: negative log-likelihood of new points, and the learning rate that was chosen by a
 * fifth of 500 points held out.
 */
export async function regress(
  arm: Arm,
  seed: number,
  steps: number,
): Promise<{ readonly loss: number; readonly rate: number }> {
  if (arm === "implicit" || arm === "smoothing") return { loss: 0, rate: 0 };
  const sample = (count: number, name: string): PolicyData => {
    const stream = randomStream(seed, `${name} inputs`);
    const x = Float64Array.from({ length: count }, () => 6 * stream.uniform() - 3);
    const noise = correlated(count, CURVE_NOISE, seed, `${name} noise`);
    const y = noise.map(
      (value, at) => value + (at % 2 === 0 ? Math.sin(2 * x[at >> 1]!) : Math.cos(x[at >> 1]!)),
    );
    return { x: tensor(Float32Array.from(x), { shape: [count, 1] }), y: rows(y) };
  };
  const [train, validation, test] = [sample(400, "train"), sample(100, "validation"), sample(2000, "test")];
  const network = curveModel.init(random.key(seed));
  const init: CurveParams = { network, free: tensor(new Float32Array(4), { shape: [2, 2] }) };
  const common = {
    init,
    data: train,
    steps,
    learningRates: RATES,
    batchSize: 100,
    key: random.key(seed + 1),
  };
  const likelihood = () =>
    trainPolicies({ ...common, loss: (p, { x, y }) => neg(meanOf(curvePolicy(p, x).logProb(y))) });
  const lossOn = (of: PolicyData) => async (stack: CurveParams) =>
    Array.from(
      await vmap((p: CurveParams) => neg(meanOf(curvePolicy(p, of.x).logProb(of.y))))(stack).data(),
      Number,
    );
  const chosen = async (stack: CurveParams) => {
    const losses = (await lossOn(validation)(stack)).map((loss) =>
      Number.isFinite(loss) ? loss : Number.POSITIVE_INFINITY,
    );
    const at = losses.indexOf(Math.min(...losses));
    return { params: treeMap((t) => slice(t, at), stack), rate: RATES[at]! };
  };
  let best =
    arm === "likelihood" || arm === "heuristic"
      ? await chosen(await likelihood())
      : { params: init, rate: 0 };
  if (arm !== "likelihood") {
    let u: Matrix;
    if (arm === "heuristic") {
      const gap = sub(train.y, curveModel.apply(best.params.network, train.x));
      u = optimalGaussianReward(residualCovariance(Float64Array.from(await gap.data(), Number), 2), LAMBDA);
    } else {
      const [a, b, c] = CURVE_NOISE;
      u = rewardOf(arm, matrix(2, 2, [a, b, b, c]));
    }
    best = await chosen(
      await trainPolicies({
        ...common,
        loss: (p, batch, key) => rewarded(curvePolicy(p, batch.x), batch, u, key),
      }),
    );
  }
  const [loss] = await lossOn(test)(treeMap((t) => reshape(t, [1, ...t.shape]), best.params));
  return { loss: loss!, rate: best.rate };
}
