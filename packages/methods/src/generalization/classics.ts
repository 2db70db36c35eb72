import { data, linalg, matmul, random, sub, tensor } from "@prior-art/tensor";
import { mean, randomStream } from "@prior-art/toolkit/stats";
import type { Phenomenon } from "./family.ts";

/** Gradient descent on `½ xᵀAx` diverges from the step size `2 / λ_max(A)` on (LeCun et al., 1993). */
export const quadraticStability: Phenomenon = {
  async *observe({ seed, brief }) {
    const size = 20;
    const steps = brief ? 500 : 4000;
    const { uniform, normal } = randomStream(seed, "quadratic stability");
    // In the eigenbasis; the largest curvature is drawn too.
    const curvatures = Float64Array.from({ length: size }, () => 5 * uniform() ** 2);
    const start = Float64Array.from({ length: size }, () => normal());
    const norm = (x: Float64Array): number => Math.hypot(...x);
    const diverges = (stepSize: number): boolean => {
      const x = start.slice();
      for (let t = 0; t < steps; t++) for (let i = 0; i < size; i++) x[i]! *= 1 - stepSize * curvatures[i]!;
      return norm(x) > norm(start);
    };
    let [low, high] = [1e-3, 1e3];
    while (high / low > 1 + 1e-6) {
      const middle = Math.sqrt(low * high);
      if (diverges(middle)) high = middle;
      else low = middle;
    }
    yield { step: 1, of: 1 };
    const largest = Math.max(...curvatures);
    return [{ quantity: "step size at which descent diverges", predicted: 2 / largest, measured: high }];
  },
};

/**
 * Excess risk of the least-squares fit of smallest norm with isotropic inputs (Hastie et al., 2022, Theorem 1): with
 * γ = p/n, `σ² γ/(1 - γ)` below 1 and `r² (1 - 1/γ) + σ²/(γ - 1)` above.
 */
export const doubleDescent: Phenomenon = {
  async *observe({ seed, brief }) {
    const n = 120;
    const repetitions = brief ? 1 : 4;
    const [signal, noise] = [1, 0.5];
    const predictions = [];
    const ratios = [0.25, 0.5, 0.8, 1.5, 3];
    for (const [i, ratio] of ratios.entries()) {
      const p = Math.round(ratio * n);
      const risks: number[] = [];
      for (let repetition = 0; repetition < repetitions; repetition++) {
        const stream = randomStream(seed, `double descent ${ratio} ${repetition}`);
        const truth = Float64Array.from({ length: p }, () => stream.normal());
        const length = Math.hypot(...truth);
        const coefficients = tensor(truth.map((v) => (signal * v) / length));
        const key = random.fold(random.key(seed), 100 * i + repetition);
        const [inputKey, noiseKey] = random.keys(key) as [typeof key, typeof key];
        const x = random.normal(inputKey, [n, p], { dtype: "float64" });
        const errors = await data(random.normal(noiseKey, [n], { dtype: "float64" }));
        const clean = await data(matmul(x, coefficients));
        const y = tensor(Float64Array.from(clean, (v, j) => v + noise * errors[j]!));
        const estimate = matmul(linalg.pinv(x), y);
        risks.push([...(await data(sub(estimate, coefficients)))].reduce((s, d) => s + d * d, 0));
      }
      yield { step: i + 1, of: ratios.length };
      const gamma = p / n;
      const predicted =
        gamma < 1
          ? (noise ** 2 * gamma) / (1 - gamma)
          : signal ** 2 * (1 - 1 / gamma) + noise ** 2 / (gamma - 1);
      predictions.push({ quantity: `excess risk at p/n = ${ratio}`, predicted, measured: mean(risks) });
    }
    return predictions;
  },
};
