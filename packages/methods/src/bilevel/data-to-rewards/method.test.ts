import {
  add,
  data as dataOf,
  grad,
  matmul,
  mean,
  mul,
  neg,
  oneHot,
  random,
  reshape,
  sub,
  sum,
  type Tensor,
  tensor,
  transpose,
} from "@prior-art/tensor";
import { choleskyFactor, logDeterminant, matrix, maxAbs, multiply } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import { regress } from "./curveTask.ts";
import { fitGaussian } from "./gaussianTask.ts";
import {
  bilevelReward,
  categoricalPolicy,
  factorOf,
  gaussianPolicy,
  implicitGradient,
  mahalanobisReward,
  optimalGaussianReward,
  policyGradientLoss,
  residualCovariance,
  trainPolicies,
} from "./method.ts";
import { classify, RATES } from "./noisyLabels.ts";

const stream = randomStream(5, "tests");
const doubles = (values: readonly number[], ...shape: number[]): Tensor =>
  tensor(Float64Array.from(values), { shape, dtype: "float64" });
const numbers = async (t: Tensor): Promise<number[]> => Array.from(await dataOf(t), Number);

describe("the optimal reward of a Gaussian", () => {
  const sigma = matrix(2, 2, [1, 0, 0, 4]);

  test("by hand: Σ = diag(1, 4), λ = 0.2", () => {
    expect([...optimalGaussianReward(sigma, 0.2).values]).toEqual([0.1, 0, 0, 0.025]);
    expect(optimalGaussianReward(sigma, 0.2, "isotropic").values[0]).toBeCloseTo(0.04, 14);
    expect(optimalGaussianReward(sigma, 0.2, "diag").values[3]).toBeCloseTo(0.025, 14);
  });

  test("is (λ/2)Σ⁻¹ of a correlated covariance; its diagonal is that of the variances alone", () => {
    const correlated = matrix(2, 2, [1, 0.8, 0.8, 2]);
    const product = multiply(optimalGaussianReward(correlated, 0.3), correlated);
    expect(maxAbs(product.values.map((value, i) => value - [0.15, 0, 0, 0.15][i]!))).toBeLessThan(1e-12);
    expect([...optimalGaussianReward(correlated, 0.3, "diag").values]).toEqual([0.15, 0, 0, 0.075]);
  });

  test("at U* the likelihood of the inner optimum N(mean, (λ/2)U⁻¹) has no slope in U; elsewhere it has", () => {
    const data = matrix(2, 2, [1, 0.8, 0.8, 2]);
    const logLik = (u: readonly number[]): number => {
      // log N with Σ = (λ/2)U⁻¹, up to a constant: ½ log det(2U/λ) − ½ tr(2U S/λ).
      const scaled = matrix(
        2,
        2,
        u.map((value) => (2 * value) / 0.1),
      );
      const product = multiply(scaled, data);
      return 0.5 * logDeterminant(choleskyFactor(scaled)) - 0.5 * (product.values[0]! + product.values[3]!);
    };
    const slopes = (at: readonly number[]) =>
      [
        [1, 0, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 0, 1],
      ].map(
        (way) =>
          (logLik(at.map((u, i) => u + 1e-6 * way[i]!)) - logLik(at.map((u, i) => u - 1e-6 * way[i]!))) /
          2e-6,
      );
    expect(maxAbs(slopes([...optimalGaussianReward(data, 0.1).values]))).toBeLessThan(1e-5);
    expect(maxAbs(slopes([0.1, 0, 0, 0.1]))).toBeGreaterThan(1);
  });

  test("bad input", () => {
    expect(() => optimalGaussianReward(sigma, 0)).toThrow("entropy weight must be positive, got 0");
    expect(() => optimalGaussianReward(matrix(2, 3), 0.1)).toThrow("2 × 3, not square");
    expect(() => optimalGaussianReward(matrix(2, 2, [1, 0, 0, -1]), 0.1)).toThrow(
      "variances must be positive",
    );
  });

  test("residual covariances are second moments around zero", () => {
    const covariance = residualCovariance(Float64Array.of(1, 2, -1, 0), 2);
    expect(covariance.values[0]).toBeCloseTo(1 + 1e-6, 12);
    expect(covariance.values[1]).toBeCloseTo(1, 12);
    expect(covariance.values[3]).toBeCloseTo(2 + 1e-6, 12);
  });
});

describe("policies", () => {
  const factor = doubles([0.8, 0, 0.3, 1.1], 2, 2);
  const center = doubles([0.5, -1, 2, 0], 2, 2);
  const dist = gaussianPolicy(center, factor);

  test("a Gaussian's log-density and entropy are those of the formulas", async () => {
    const [value] = await numbers(dist.logProb(doubles([1, 0, 2, 0], 1, 2, 2)));
    // z = L⁻¹(0.5, 1) = (0.625, (1 − 0.3·0.625)/1.1).
    const z = [0.625, (1 - 0.3 * 0.625) / 1.1];
    expect(value).toBeCloseTo(
      -0.5 * (z[0]! ** 2 + z[1]! ** 2) - Math.log(0.8 * 1.1) - Math.log(2 * Math.PI),
      10,
    );
    expect((await numbers(dist.entropy()))[1]).toBeCloseTo(1 + Math.log(2 * Math.PI) + Math.log(0.88), 10);
  });

  test("expected rewards are the means of sampled ones, for both kinds of policy", async () => {
    const u = doubles([1, 0.2, 0.2, 0.5], 2, 2);
    const target = doubles([1, 0, 0, 1], 2, 2);
    for (const policy of [dist, categoricalPolicy(doubles([0.3, -0.4, 1, 2], 2, 2))]) {
      const exact = await numbers(policy.expectedReward(u, target));
      const drawn = mahalanobisReward(u)(policy.sample(random.key(1), 40_000), target);
      const sampled = await numbers(mean(drawn, 0));
      sampled.forEach((value, i) => {
        expect(Math.abs(value - exact[i]!)).toBeLessThan(0.03 * Math.max(1, Math.abs(exact[i]!)));
      });
    }
  });

  test("a categorical policy draws by its probabilities, and its entropy is −Σ p log p", async () => {
    const policy = categoricalPolicy(doubles([0, Math.log(3)], 1, 2));
    const [first, second] = await numbers(mean(policy.sample(random.key(0), 20_000), 0));
    expect(first).toBeCloseTo(0.25, 1.7);
    expect(first! + second!).toBeCloseTo(1, 12);
    const entropy = -(0.25 * Math.log(0.25) + 0.75 * Math.log(0.75));
    expect((await numbers(policy.entropy()))[0]).toBeCloseTo(entropy, 10);
    expect((await numbers(policy.logProb(doubles([0, 1], 1, 1, 2))))[0]).toBeCloseTo(Math.log(0.75), 10);
  });

  test("½I on one-hot vectors is −1 for a wrong class and 0 for the right one", async () => {
    const half = tensor([0.5, 0, 0, 0, 0.5, 0, 0, 0, 0.5], { shape: [3, 3] });
    const outputs = oneHot(tensor(Int32Array.of(0, 1, 2), { shape: [3, 1] }), 3);
    const rewards = mahalanobisReward(half)(outputs, oneHot(tensor(Int32Array.of(1)), 3));
    expect((await numbers(rewards)).map((value) => value + 0)).toEqual([-1, 0, -1]);
  });
});

describe("policy gradients", () => {
  const u = doubles([1, 0.2, 0.2, 0.5], 2, 2);
  const target = doubles([0.3, -0.2], 1, 2);
  const [center, factor] = [doubles([0, 0.4], 1, 2), doubles([0.8, 0, 0.3, 1.1], 2, 2)];
  const lambda = 0.4;
  type Params = { readonly center: Tensor; readonly factor: Tensor };
  const gradientOf = (options: Partial<Parameters<typeof policyGradientLoss>[0]>) =>
    grad((p: Params) =>
      policyGradientLoss({
        dist: gaussianPolicy(p.center, p.factor),
        target,
        reward: mahalanobisReward(u),
        entropyWeight: lambda,
        key: random.key(3),
        samples: 100_000,
        ...options,
      }),
    )({ center, factor });
  // −∇J: 2U(μ − y), and 2(U − ½λΣ⁻¹)L of which the lower triangle is free.
  const exactCenter = [2 * (1 * -0.3 + 0.2 * 0.6), 2 * (0.2 * -0.3 + 0.5 * 0.6)];
  const exactFactor = async (): Promise<number[]> => {
    const loss = (l: Tensor): Tensor => {
      const dist = gaussianPolicy(center, l);
      return neg(add(mean(dist.expectedReward(u, target)), mul(lambda, mean(dist.entropy()))));
    };
    return numbers(grad(loss)(factor));
  };

  test("the exact gradient in the factor is 2(U − ½λΣ⁻¹)L", async () => {
    const [a, , c, d] = await exactFactor();
    // (L⁻ᵀ)'s diagonal is what ½λΣ⁻¹·2L leaves below the diagonal.
    expect(a).toBeCloseTo(2 * (0.8 + 0.2 * 0.3) - lambda / 0.8, 10);
    expect(c).toBeCloseTo(2 * (0.2 * 0.8 + 0.5 * 0.3), 10);
    expect(d).toBeCloseTo(2 * 0.5 * 1.1 - lambda / 1.1, 10);
  });

  test.each([
    ["REINFORCE", {}, 0.08],
    ["REINFORCE with a leave-one-out baseline", { transform: "leaveOneOut" }, 0.05],
    ["reparametrized", { reparametrized: true }, 0.02],
  ] as const)("%s: 100,000 samples give the analytic gradient", async (_, options, tolerance) => {
    const found = gradientOf(options);
    const [centers, factors, exact] = [
      await numbers(found.center),
      await numbers(found.factor),
      await exactFactor(),
    ];
    expect(maxAbs(centers.map((value, i) => value - exactCenter[i]!))).toBeLessThan(tolerance);
    for (const at of [0, 2, 3]) expect(Math.abs(factors[at]! - exact[at]!)).toBeLessThan(tolerance);
  });

  test("a constant added to the reward does not change the expected gradient; with leave-one-out, not even the sampled one", async () => {
    const shifted = (by: number) => (outputs: Tensor, to: Tensor) =>
      add(mahalanobisReward(u)(outputs, to), by);
    const at = async (by: number, transform: "none" | "leaveOneOut") =>
      numbers(gradientOf({ reward: shifted(by), transform }).center);
    const [plain, moved] = [await at(0, "none"), await at(1, "none")];
    expect(maxAbs(plain.map((value, i) => value - moved[i]!))).toBeLessThan(0.03);
    const [one, two] = [await at(0, "leaveOneOut"), await at(1, "leaveOneOut")];
    expect(maxAbs(one.map((value, i) => value - two[i]!))).toBeLessThan(1e-9);
  });

  test("leave-one-out baselines belong to each input: a shift of one input's rewards changes nothing", async () => {
    const gradientAt = async (by: number) => {
      const found = grad((center2: Tensor) =>
        policyGradientLoss({
          dist: gaussianPolicy(center2, factor),
          target: doubles([0.3, -0.2, 1, 0], 2, 2),
          reward: (y, to) => add(mahalanobisReward(u)(y, to), doubles([0, by], 2)),
          transform: "leaveOneOut",
          samples: 4,
          key: random.key(5),
        }),
      )(doubles([0, 0.4, 1, 1], 2, 2));
      return numbers(found);
    };
    const [plain, shifted] = [await gradientAt(0), await gradientAt(100)];
    expect(maxAbs(plain.map((value, i) => value - shifted[i]!))).toBeLessThan(1e-9);
  });

  test("transforms: the smallest reward becomes 0, e^{γr} stays positive", async () => {
    const dist = categoricalPolicy(doubles([0, 0, 0], 1, 3));
    const loss = (transform: "normalize" | { rbf: number }) =>
      policyGradientLoss({
        dist,
        target: doubles([1, 0, 0], 1, 3),
        reward: mahalanobisReward(doubles([0.5, 0, 0, 0, 0.5, 0, 0, 0, 0.5], 3, 3)),
        entropyWeight: 0,
        samples: 3000,
        transform,
        key: random.key(1),
      });
    // A third is right: r − min is 1 there and 0 elsewhere; e^{2r} is 1 there and e^{−2} elsewhere.
    expect((await numbers(loss("normalize")))[0]).toBeCloseTo(Math.log(3) / 3, 1.5);
    expect((await numbers(loss({ rbf: 2 })))[0]).toBeCloseTo((Math.log(3) * (1 + 2 * Math.exp(-2))) / 3, 1.5);
  });

  test("bad input", () => {
    const base = {
      dist: categoricalPolicy(doubles([0, 0], 1, 2)),
      target: doubles([1, 0], 1, 2),
      reward: mahalanobisReward(doubles([1, 0, 0, 1], 2, 2)),
      key: random.key(0),
    };
    expect(() => policyGradientLoss({ ...base, reparametrized: true })).toThrow("can't be differentiated");
    expect(() => policyGradientLoss({ ...base, samples: 1, transform: "leaveOneOut" })).toThrow(
      "from 2, got 1",
    );
    expect(() => policyGradientLoss({ ...base, entropyWeight: -1 })).toThrow("at least 0, got -1");
    expect(() => policyGradientLoss({ ...base, reward: mahalanobisReward(doubles([1], 1, 1)) })).toThrow(
      "outputs of size 2 take a U of [2, 2]",
    );
    expect(() => gaussianPolicy(center, doubles([1], 1, 1))).toThrow("do not fit a factor");
  });
});

describe("the bilevel problem", () => {
  const count = 400;
  const values = new Float32Array(2 * count);
  for (let k = 0; k < count; k++) {
    const z = stream.normal();
    values[2 * k] = 1 + z;
    values[2 * k + 1] = -2 + 0.8 * z + 1.2 * stream.normal();
  }
  const centers = [0, 1].map(
    (j) => values.filter((_, at) => at % 2 === j).reduce((a, b) => a + b, 0) / count,
  );
  const covariance = residualCovariance(
    Float64Array.from(values, (value, at) => value - centers[at % 2]!),
    2,
  );
  type Params = { readonly center: Tensor; readonly free: Tensor };
  const ones = (x: Tensor) => tensor(new Float32Array(x.shape[0]!).fill(1), { shape: [x.shape[0]!, 1] });
  const meanOf = ({ center }: Params, x: Tensor) => matmul(ones(x), reshape(center, [1, 2]));
  const options = {
    policy: (p: Params, x: Tensor) => gaussianPolicy(meanOf(p, x), factorOf(p.free)),
    mean: meanOf,
    init: { center: tensor(new Float32Array(2)), free: tensor(new Float32Array(4), { shape: [2, 2] }) },
    data: {
      x: tensor(new Float32Array(count), { shape: [count, 1] }),
      y: tensor(values, { shape: [count, 2] }),
    },
    lambda: 0.1,
    key: random.key(0),
  };
  const best = optimalGaussianReward(covariance, 0.1);

  test.each(["heuristic", "implicit"] as const)(
    "%s: finds (λ/2)Σ⁻¹ and the data's moments",
    async (solver) => {
      const { u, params, history } = await bilevelReward({ ...options, solver, steps: 800, outerSteps: 200 });
      expect(maxAbs(u.values.map((value, i) => value - best.values[i]!)) / maxAbs(best.values)).toBeLessThan(
        0.05,
      );
      const factor = factorOf(params.free);
      const found = await numbers(matmul(factor, transpose(factor)));
      expect(maxAbs(found.map((value, i) => value - covariance.values[i]!))).toBeLessThan(0.1);
      expect(maxAbs((await numbers(params.center)).map((value, j) => value - centers[j]!))).toBeLessThan(
        0.05,
      );
      expect(history.at(-1)).toBe(u);
    },
  );

  test("with U = I the policy's covariance is (λ/2)I whatever the data", async () => {
    const stack = await trainPolicies({
      init: options.init,
      data: options.data,
      steps: 500,
      learningRates: [0.02],
      key: options.key,
      loss: (p, { x, y }, key) =>
        policyGradientLoss({
          dist: options.policy(p, x),
          target: y,
          reward: mahalanobisReward(tensor([1, 0, 0, 1], { shape: [2, 2] })),
          entropyWeight: 0.1,
          reparametrized: true,
          key,
        }),
    });
    const factor = factorOf(reshape(stack.free, [2, 2]));
    const found = await numbers(matmul(factor, transpose(factor)));
    expect(maxAbs(found.map((value, i) => value - [0.05, 0, 0, 0.05][i]!))).toBeLessThan(0.015);
  });

  test("the implicit gradient is the derivative of the likelihood of the inner optimum", async () => {
    // J = −φ(θ − 1)² − 0.1θ², θ* = φ/(φ + 0.1); ℓ = −(θ − 0.3)².
    const theta = (phi: number) => phi / (phi + 0.1);
    const logLik = (phi: number) => -((theta(phi) - 0.3) ** 2);
    const phi = 0.4;
    const found = implicitGradient({ theta: doubles([theta(phi)], 1) }, doubles([phi], 1), {
      objective: ({ theta: t }, p) =>
        neg(add(sum(mul(p, mul(sub(t, 1), sub(t, 1)))), mul(0.1, sum(mul(t, t))))),
      logLik: ({ theta: t }) => neg(sum(mul(sub(t, 0.3), sub(t, 0.3)))),
      damping: 0,
      iterations: 5,
    });
    const numeric = (logLik(phi + 1e-5) - logLik(phi - 1e-5)) / 2e-5;
    expect((await numbers(found))[0]).toBeCloseTo(numeric, 7);
  });

  test("bad input", async () => {
    const implicit = { ...options, solver: "implicit" as const };
    await expect(bilevelReward({ ...implicit, lambda: 0 })).rejects.toThrow(
      "entropy weight must be positive",
    );
    await expect(bilevelReward({ ...implicit, learningRate: 0 })).rejects.toThrow(
      "learning rate must be positive",
    );
    await expect(bilevelReward({ ...implicit, outerSteps: 0 })).rejects.toThrow("outerSteps");
    await expect(
      bilevelReward({
        ...implicit,
        data: { ...options.data, x: tensor(new Float32Array(3), { shape: [3, 1] }) },
      }),
    ).rejects.toThrow("as many inputs as outputs are needed, at least one, got 3 and 400");
    const broken = { x: options.data.x, y: mul(Number.NaN, options.data.y) };
    await expect(bilevelReward({ ...implicit, data: broken, outerSteps: 3 })).rejects.toThrow(
      "training diverged; U in outer step 1",
    );
    await expect(
      trainPolicies({
        init: options.init,
        data: options.data,
        steps: 0,
        learningRates: [1],
        key: options.key,
        loss: () => sum(options.data.y),
      }),
    ).rejects.toThrow("steps");
  });
});

describe("the experiment", () => {
  const seed = 1_000_000;

  test("the heuristic's U is that of the sample's covariance, and off the true one by the sample's error", async () => {
    const { rewardError, sampleRewardError } = await fitGaussian("heuristic", seed, {
      points: 1000,
      steps: 400,
      outerSteps: 1,
    });
    expect(sampleRewardError).toBeLessThan(1e-3);
    expect(rewardError).toBeGreaterThan(5e-3);
    expect(rewardError).toBeLessThan(0.15);
  });

  test("learning rates of classifiers trained by likelihood on wrong labels lie inside their grid", async () => {
    const { accuracies, rates } = await classify("likelihood", seed, 800);
    expect(Math.min(...rates)).toBeGreaterThan(RATES[0]!);
    expect(Math.max(...rates)).toBeLessThan(RATES.at(-1)!);
    expect(new Set(rates).size).toBeGreaterThan(1);
    expect(Math.min(...accuracies)).toBeGreaterThan(0.8);
  });

  test("the regression is tested at the learning rate that validation chose", async () => {
    const { loss, rate } = await regress("likelihood", seed, 400);
    expect(rate).toBeGreaterThan(3e-4);
    expect(rate).toBeLessThan(0.1);
    expect(loss).toBeLessThan(1);
  });
});
