import {
  add,
  grad,
  item,
  matmul,
  mul,
  neg,
  random,
  reshape,
  scalar,
  slice,
  softplus,
  sub,
  sum,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import { lbfgs } from "@prior-art/toolkit/convex";
import {
  choleskyFactor,
  choleskySolve,
  dot,
  logDeterminant,
  matrix,
  maxAbs,
  times,
} from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import {
  dataEmphasizedElbo,
  emphasis,
  gaussianDivergence,
  gaussianPosterior,
  isotropic,
  learnHyperparameters,
  lowRankPlusDiagonal,
  optimalPriorVariance,
  randomFourierGp,
  transferPrior,
} from "./method.ts";
import { exactGaussianProcess, GRID, gappedSine, rmse, validatedRidge } from "./regression.ts";
import { gridSearch, RATES, trainVariationally, transferTask } from "./transfer.ts";

const vector = (...values: number[]): Tensor => tensor(Float64Array.from(values), { dtype: "float64" });
const number = (value: number): Tensor => scalar(value, "float64");
const stream = randomStream(3, "tests");
const normals = (size: number): Float64Array => Float64Array.from({ length: size }, () => stream.normal());

describe("the divergence from the prior", () => {
  const mean = vector(1, 0, 2, 1);
  const sigma2 = number(0.5);

  test("by hand: λ* = (4·½ + 6)/4 = 2, where KL = 2 log 4 and its derivative is 0", async () => {
    expect(await item(optimalPriorVariance({ mean, sigma2 }))).toBeCloseTo(2, 12);
    const at = (variance: Tensor) => gaussianDivergence({ mean, sigma2, variance });
    expect(await item(at(number(2)))).toBeCloseTo(2 * Math.log(4), 10);
    expect(await item(grad(at)(number(2)))).toBeCloseTo(0, 12);
    expect(await item(grad(at)(number(1)))).toBeLessThan(-0.1);
  });

  test("is 0 exactly when posterior and prior agree", async () => {
    const same = { mean, sigma2, priorMean: mean, variance: sigma2 };
    expect(await item(gaussianDivergence(same))).toBeCloseTo(0, 12);
    for (const changes of [
      { priorMean: vector(1, 0, 2, 1.1) },
      { variance: number(0.6) },
      { sigma2: number(0.4) },
    ])
      expect(await item(gaussianDivergence({ ...same, ...changes }))).toBeGreaterThan(1e-3);
  });

  test("a low-rank covariance is that of the dense matrix", async () => {
    const [d, f] = [Float64Array.of(0.5, 1, 2, 0.3), matrix(4, 2, normals(8))];
    const dense = matrix(4, 4);
    for (let i = 0; i < 4; i++)
      for (let j = 0; j < 4; j++)
        dense.values[i * 4 + j] =
          (i === j ? d[i]! : 0) +
          f.values[2 * i]! * f.values[2 * j]! +
          f.values[2 * i + 1]! * f.values[2 * j + 1]!;
    const factor = choleskyFactor(dense);
    const covariance = lowRankPlusDiagonal(d, f, "float64");
    expect(covariance.logDeterminant).toBeCloseTo(logDeterminant(factor), 10);
    const v = normals(4);
    const solved = Float64Array.from(await covariance.solve(tensor(v, { dtype: "float64" })).data(), Number);
    expect(maxAbs(solved.map((value, i) => value - choleskySolve(factor, v)[i]!))).toBeLessThan(1e-9);
    const trace = [0, 1, 2, 3].reduce(
      (total, i) =>
        total +
        choleskySolve(
          factor,
          Float64Array.from({ length: 4 }, (_, j) => (i === j ? 1 : 0)),
        )[i]!,
      0,
    );
    expect(covariance.traceInverse).toBeCloseTo(trace, 9);
    const plain = lowRankPlusDiagonal(new Float64Array(4).fill(1), matrix(4, 1), "float64");
    const terms = { mean, sigma2, variance: number(0.7), priorMean: vector(0, 1, 0, 1) };
    expect(await item(gaussianDivergence({ ...terms, covariance: plain }))).toBeCloseTo(
      await item(gaussianDivergence({ ...terms, covariance: isotropic(4) })),
      10,
    );
  });
});

describe("the bound", () => {
  const n = 6;
  const phi = matrix(n, 3, normals(18));
  const y = normals(n);
  const [phiT, yT] = [
    tensor(phi.values, { shape: [n, 3], dtype: "float64" }),
    tensor(y, { dtype: "float64" }),
  ];
  type Weights = { readonly w: Tensor };
  const logLik = ({ w }: Weights): Tensor => {
    const residual = sub(yT, reshape(matmul(phiT, reshape(w, [3, 1])), [n]));
    return mul(-0.5 / (n * 0.3 ** 2), sum(mul(residual, residual)));
  };
  const block = { name: "all", of: (p: Weights) => p };

  test("κ counts the data alone: the objective is κ times their likelihood minus the divergence", async () => {
    const at = (kappa: "auto" | number) =>
      dataEmphasizedElbo({
        logLik,
        mean: { w: vector(1, -1, 0.5) },
        rho: number(-1),
        prior: [block],
        kappa,
        numData: n,
        key: random.key(1),
      });
    const one = at(1);
    const parts = async ({ objective, expectedLogLik, kl }: typeof one) =>
      Promise.all([item(objective), item(expectedLogLik), item(kl)]);
    const [objective, likelihood, kl] = await parts(one);
    expect(objective).toBeCloseTo(likelihood - kl, 10);
    const [emphasized, same, sameKl] = await parts(at("auto"));
    expect([same, sameKl]).toEqual([likelihood, kl]);
    expect(emphasized).toBeCloseTo((3 / n) * likelihood - kl, 10);
    // With a variance of 1 instead of the best one the divergence is larger.
    const fixed = dataEmphasizedElbo({
      logLik,
      mean: { w: vector(1, -1, 0.5) },
      rho: number(-1),
      prior: [{ ...block, variance: 1 }],
      kappa: 1,
      numData: n,
      key: random.key(1),
    });
    expect(await item(fixed.kl)).toBeGreaterThan(kl);
    expect(await item(fixed.variances.all!)).toBe(1);
  });

  test("its samples are ŵ + σε: their mean likelihood is that of the closed form", async () => {
    const w = Float64Array.of(1, -1, 0.5);
    const sigma = Math.log1p(Math.exp(-1));
    const { expectedLogLik } = dataEmphasizedElbo({
      logLik,
      mean: { w: vector(...w) },
      rho: number(-1),
      prior: [block],
      kappa: 1,
      numData: n,
      key: random.key(2),
      samples: 100,
    });
    const residual = times(phi, w).map((value, i) => y[i]! - value);
    const squares = dot(residual, residual) + sigma ** 2 * dot(phi.values, phi.values);
    const exact = -0.5 * (squares / 0.3 ** 2);
    expect(Math.abs((await item(expectedLogLik)) / exact - 1)).toBeLessThan(0.1);
  });

  test("linear regression: the gradient's optimum is the closed form, for any κ; κ → ∞ is maximum likelihood", async () => {
    const objective = (kappa: number, u: Tensor): Tensor => {
      const w = slice(u, [0, 3]);
      const sigma = softplus(slice(u, 3));
      const sigma2 = mul(sigma, sigma);
      const residual = sub(yT, reshape(matmul(phiT, reshape(w, [3, 1])), [n]));
      const squares = add(sum(mul(residual, residual)), mul(sigma2, sum(mul(phiT, phiT))));
      const kl = gaussianDivergence({ mean: w, sigma2, variance: number(0.8) });
      return neg(sub(mul((-0.5 * kappa) / 0.3 ** 2, squares), kl));
    };
    for (const kappa of [1, 7]) {
      const f = (u: Tensor) => objective(kappa, u);
      const { mean, sigma2 } = gaussianPosterior(phi, y, { kappa, noise: 0.3, priorVariance: 0.8 });
      const at = Float64Array.of(...mean, Math.log(Math.expm1(Math.sqrt(sigma2))));
      const slope = Float64Array.from(await grad(f)(vector(...at)).data(), Number);
      expect(maxAbs(slope)).toBeLessThan(1e-6);
      for (const j of [0, 1, 2, 3]) {
        const moved = at.map((value, k) => (k === j ? value + 0.01 : value));
        expect(await item(f(vector(...moved)))).toBeGreaterThan(await item(f(vector(...at))));
      }
    }
    const { x: leastSquares } = lbfgs(
      (w) => {
        const residual = times(phi, w).map((value, i) => value - y[i]!);
        const gradient = Float64Array.from({ length: 3 }, (_, j) =>
          residual.reduce((total, r, i) => total + r * phi.values[3 * i + j]!, 0),
        );
        return { value: 0.5 * dot(residual, residual), gradient };
      },
      { start: new Float64Array(3), tolerance: 1e-10 },
    );
    const { mean } = gaussianPosterior(phi, y, { kappa: 1e8, noise: 0.3, priorVariance: 0.8 });
    expect(maxAbs(mean.map((value, j) => value - leastSquares[j]!))).toBeLessThan(1e-6);
  });

  test("with κ = D/N a data set and two copies of it give the same posterior; with κ = 1 they do not", () => {
    const doubled = { phi: matrix(2 * n, 3, [...phi.values, ...phi.values]), y: Float64Array.of(...y, ...y) };
    const fit = (twice: boolean, emphasized: boolean) => {
      const size = twice ? 2 * n : n;
      return gaussianPosterior(twice ? doubled.phi : phi, twice ? doubled.y : y, {
        kappa: emphasis(emphasized ? "auto" : 1, 3, size),
        noise: 0.3,
        priorVariance: 0.8,
      });
    };
    expect(maxAbs(fit(true, true).mean.map((value, j) => value - fit(false, true).mean[j]!))).toBeLessThan(
      1e-9,
    );
    expect(fit(true, true).sigma2).toBeCloseTo(fit(false, true).sigma2, 12);
    expect(fit(true, false).sigma2).toBeLessThan(0.8 * fit(false, false).sigma2);
  });

  test("bad input", () => {
    const base = { logLik, mean: { w: vector(1, 2, 3) }, rho: number(0), numData: n, key: random.key(0) };
    expect(() => dataEmphasizedElbo({ ...base, kappa: 0, prior: [block] })).toThrow("kappa must be positive");
    expect(() => dataEmphasizedElbo({ ...base, kappa: 1, numData: 0, prior: [block] })).toThrow("numData");
    expect(() => dataEmphasizedElbo({ ...base, kappa: 1, prior: [] })).toThrow("belongs to 0 of the blocks");
    expect(() =>
      dataEmphasizedElbo({ ...base, kappa: 1, prior: [block, { ...block, name: "again" }] }),
    ).toThrow("belongs to 2 of the blocks all, again");
    expect(() => dataEmphasizedElbo({ ...base, kappa: 1, prior: [{ ...block, variance: -1 }] })).toThrow(
      "the variance of the block all must be positive, got -1",
    );
    expect(() =>
      optimalPriorVariance({ mean: vector(1, 2), sigma2: number(1), priorMean: vector(1) }),
    ).toThrow("prior");
    expect(() => lowRankPlusDiagonal(Float64Array.of(1, 2), matrix(3, 1))).toThrow(
      "a diagonal of 2 for a factor of 3",
    );
    expect(() => lowRankPlusDiagonal(Float64Array.of(1, 0), matrix(2, 1))).toThrow("positive and finite");
    const parts = { backbone: (p: Weights) => p.w, head: () => [], pretrained: { w: vector(1) } };
    expect(() => transferPrior("ptyl", parts)).toThrow("needs the covariance");
    expect(transferPrior("zero", parts)[0]!.mean).toBeUndefined();
    expect(transferPrior("sp", parts)[0]!.mean).toBe(parts.pretrained);
  });
});

describe("learning by gradients", () => {
  type Weights = { readonly w: Tensor };
  const inputs = Float32Array.from({ length: 20 * 50 }, () => stream.normal());
  const targets = Float32Array.from({ length: 20 }, (_, i) => inputs[50 * i]! - inputs[50 * i + 1]!);
  const options = {
    logLik: ({ w }: Weights, { x, y }: { x: Tensor; y: Tensor }): Tensor => {
      const residual = sub(y, reshape(matmul(x, reshape(w, [50, 1])), [x.shape[0]!]));
      return mul(-0.5 / (x.shape[0]! * 0.25), sum(mul(residual, residual)));
    },
    init: { w: tensor(new Float32Array(50)) },
    data: { x: tensor(inputs, { shape: [20, 50] }), y: tensor(targets) },
    prior: [{ name: "all", of: (p: Weights) => p }],
    steps: 800,
    key: random.key(3),
  };

  test("ends near the fixed point of the closed forms", async () => {
    const found = await learnHyperparameters({ ...options, learningRates: [0.3, 0.1, 0.01] });
    let lambda = 1;
    const phi = matrix(20, 50, Float64Array.from(inputs));
    const fit = () =>
      gaussianPosterior(phi, Float64Array.from(targets), { kappa: 2.5, noise: 0.5, priorVariance: lambda });
    for (let i = 0; i < 3000; i++) {
      const { mean, sigma2 } = fit();
      lambda = sigma2 + dot(mean, mean) / 50;
    }
    const { mean, sigma2 } = fit();
    expect(found.variances.all! / lambda).toBeGreaterThan(0.8);
    expect(found.variances.all! / lambda).toBeLessThan(1.25);
    expect(found.sigma / Math.sqrt(sigma2)).toBeGreaterThan(0.8);
    expect(found.sigma / Math.sqrt(sigma2)).toBeLessThan(1.25);
    const learned = Float64Array.from(await found.mean.w.data(), Number);
    expect(maxAbs(learned.map((value, j) => value - mean[j]!))).toBeLessThan(0.1);
    expect(found.objective).toBe(Math.max(...found.candidates.map(({ objective }) => objective)));
  });

  test("minibatches see every example equally often, and a rate that diverges is left out", async () => {
    const found = await learnHyperparameters({
      ...options,
      steps: 40,
      batchSize: 5,
      learningRates: [1e38, 0.01],
    });
    expect(found.learningRate).toBe(0.01);
    expect(found.history).toHaveLength(40);
    await expect(
      learnHyperparameters({ ...options, steps: 5, logLik: ({ w }) => mul(Number.NaN, sum(w)) }),
    ).rejects.toThrow("diverged at every learning rate");
  });

  test("bad input", async () => {
    await expect(learnHyperparameters({ ...options, learningRates: [0.1, 0] })).rejects.toThrow(
      "learning rate must be positive",
    );
    await expect(learnHyperparameters({ ...options, steps: 0 })).rejects.toThrow("steps");
    await expect(learnHyperparameters({ ...options, initialSigma: 0 })).rejects.toThrow("initialSigma");
    await expect(
      learnHyperparameters({ ...options, data: { ...options.data, y: tensor(new Float32Array(19)) } }),
    ).rejects.toThrow("must share a first axis");
  });
});

describe("random Fourier features", () => {
  test("their products are the RBF kernel, in the mean of 200,000", () => {
    const { featuresOf } = randomFourierGp({ features: 200_000, seed: 0 });
    for (const [a, b, length] of [
      [0, 0.5, 1],
      [-1, 1, 0.7],
      [0.3, 0.3, 2],
    ] as const) {
      const phi = featuresOf(Float64Array.of(a, b), length);
      const product = dot(phi.values.subarray(0, 200_000), phi.values.subarray(200_000));
      expect(Math.abs(product - Math.exp(-((a - b) ** 2) / (2 * length ** 2)))).toBeLessThan(1e-2);
    }
  });

  test("the derivative in log ℓ is that of finite differences", () => {
    const { featuresOf } = randomFourierGp({ features: 20, seed: 1 });
    const x = Float64Array.of(-2, 0.4);
    const [plus, minus] = [featuresOf(x, Math.exp(1e-5)), featuresOf(x, Math.exp(-1e-5))];
    const slope = featuresOf(x, 1, true);
    expect(
      maxAbs(slope.values.map((value, i) => value - (plus.values[i]! - minus.values[i]!) / 2e-5)),
    ).toBeLessThan(1e-8);
  });

  test("the bound rises to a value that no length-scale near by beats", () => {
    const { x, y } = gappedSine(1_000_000);
    const { history, lengthScale } = randomFourierGp({ features: 256, steps: 200, seed: 2 }).fit(x, y);
    expect(history.at(-1)!).toBeGreaterThan(history[0]!);
    for (const factor of [0.97, 1.03]) {
      const held = randomFourierGp({
        features: 256,
        steps: 200,
        learningRate: 1e-12,
        lengthScale: lengthScale * factor,
        seed: 2,
      }).fit(x, y);
      expect(held.history.at(-1)!).toBeLessThan(history.at(-1)!);
    }
  });

  test("at the present weights, k² and the learned noise are the best ones", () => {
    const { x, y } = gappedSine(1_000_001);
    const { mean, sigma2, outputScale, noise, predict, expectedLogLik } = randomFourierGp({
      features: 256,
      noise: "learned",
      steps: 300,
      seed: 2,
    }).fit(x, y);
    expect(outputScale / (sigma2 + dot(mean, mean) / 256)).toBeCloseTo(1, 2);
    const fitted = predict(x);
    const squares = y.reduce(
      (total, value, i) => total + (value - fitted.mean[i]!) ** 2 + fitted.variance[i]!,
      0,
    );
    expect(noise / Math.sqrt(squares / 20)).toBeCloseTo(1, 2);
    expect(expectedLogLik).toBeCloseTo(
      -0.5 * Math.log(2 * Math.PI * noise ** 2) - squares / (40 * noise ** 2),
      6,
    );
  });

  test("emphasis raises the likelihood of the training data and lowers the posterior's variance", () => {
    const { x, y } = gappedSine(1_000_002);
    const fit = (kappa: "auto" | 1) =>
      randomFourierGp({ features: 256, kappa, steps: 150, seed: 3 }).fit(x, y);
    const [emphasized, ordinary] = [fit("auto"), fit(1)];
    expect(emphasized.expectedLogLik).toBeGreaterThan(ordinary.expectedLogLik);
    expect(emphasized.sigma2).toBeLessThan(ordinary.sigma2);
  });

  test("the reference's marginal likelihood finds a function between the data", () => {
    const { lengthScale, predict } = exactGaussianProcess(gappedSine(1_000_002));
    expect(rmse(predict(GRID).mean)).toBeLessThan(0.5);
    expect(lengthScale).toBeGreaterThan(0.2);
    const [inside, far] = predict(Float64Array.of(-2, 30)).variance;
    expect(inside!).toBeLessThan(0.2 * far!);
  });

  test("bad input", () => {
    expect(() => randomFourierGp({ seed: 0, noise: 0 })).toThrow("noise must be positive");
    expect(() => randomFourierGp({ seed: 0, learningRate: 0 })).toThrow("learningRate must be positive");
    expect(() => randomFourierGp({ seed: 0, features: 0 })).toThrow("features");
    const { fit } = randomFourierGp({ seed: 0, features: 8 });
    expect(() => fit(Float64Array.of(1), Float64Array.of(1, 2))).toThrow("1 inputs and 2 targets");
    expect(() => fit(Float64Array.of(Number.NaN), Float64Array.of(1))).toThrow("finite");
  });
});

describe("the experiment's references", () => {
  test("validated ridge regression chooses ℓ and k² inside its grid and is close where there are data", () => {
    const data = gappedSine(1_000_000);
    const { lengthScale, priorVariance, predict } = validatedRidge(data, 1_000_000);
    expect(lengthScale).toBeGreaterThan(0.11);
    expect(lengthScale).toBeLessThan(3.9);
    expect(priorVariance).toBeGreaterThan(0.011);
    expect(priorVariance).toBeLessThan(9900);
    const fitted = predict(data.x);
    expect(maxAbs(data.y.map((value, i) => value - fitted[i]!))).toBeLessThan(0.5);
  });

  test("the grid keeps what validates best, and tries the learning rates that the bounds try", async () => {
    const options = { task: await transferTask(1_000_000), size: 50, steps: 40, seed: 1_000_000 };
    const found = await gridSearch(
      [
        [10, 10],
        [0, 0],
      ],
      options,
    );
    expect(found.penalty).toEqual([0, 0]);
    expect(found.rate).toBe(0.1);
    expect(found.steps).toBe(40 * (2 * RATES.length + 1));
    expect(found.score.accuracy).toBeGreaterThan(0.5);
    const learned = await trainVariationally("auto", options);
    expect(learned.steps).toBe(40 * RATES.length);
    expect(RATES).toContain(learned.rate);
    expect(learned.score.accuracy).toBeGreaterThan(0.5);
  });
});
