import {
  abs,
  data,
  grad,
  matmul,
  max,
  mul,
  random,
  sqrt,
  sub,
  sum,
  type Tensor,
  tensor,
  toArray,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { crossEntropy, fgsm, mlp, pgd } from "./index.ts";

const f64 = { dtype: "float64" } as const;
const x = tensor([[0.2, 0.5, 0.9], [0, 1, 0.4]], f64); // biome-ignore format: a matrix
const weight = tensor([2, -1, 0.5], f64);
const linear = (z: Tensor): Tensor => sum(matmul(z, weight));
const rows = async (t: Tensor): Promise<number[][]> => (await toArray(t)) as number[][];

describe("on a linear loss", () => {
  test("FGSM moves each coordinate by the radius towards the weight's sign", async () => {
    const [first] = await rows(sub(fgsm(linear, x, { radius: 0.1 }), x));
    expect(first).toEqual([0.1, -0.1, 0.1].map((v) => expect.closeTo(v, 12)));
  });

  test("the Euclidean step goes along the weight and has the radius's length", async () => {
    const [first] = await rows(sub(fgsm(linear, x, { radius: 0.3, norm: "euclidean" }), x));
    const length = Math.hypot(2, 1, 0.5);
    expect(first).toEqual([2, -1, 0.5].map((w) => expect.closeTo((0.3 * w) / length, 10)));
  });

  test("PGD reaches the same point, and bounds hold", async () => {
    const attacked = await rows(pgd(linear, x, { radius: 0.1, steps: 4, bounds: [0, 1] }));
    expect(attacked[0]).toEqual([0.3, 0.4, 1].map((v) => expect.closeTo(v, 12)));
    expect(attacked[1]).toEqual([0.1, 0.9, 0.5].map((v) => expect.closeTo(v, 12)));
  });
});

describe("on a network", () => {
  const model = mlp({ sizes: [3, 16, 3], dtype: "float64" });
  const params = model.init(random.key(4));
  const labels = tensor(Int32Array.of(0, 2));
  const loss = (z: Tensor): Tensor => mul(2, crossEntropy(model.apply(params, z), labels));

  test.each(["max", "euclidean"] as const)(
    "PGD raises the loss, at least as far as FGSM, within the ball (%s)",
    async (norm) => {
      const options = { radius: 0.2, norm };
      const steps = 20;
      const attacked = pgd(loss, x, { ...options, steps, stepSize: 0.05, key: random.key(1) });
      const [before, once, often] = await Promise.all(
        [x, fgsm(loss, x, options), attacked].map((z) => loss(z).item()),
      );
      expect(once!).toBeGreaterThan(before!);
      expect(often!).toBeGreaterThan(once! - 1e-3);
      const change = sub(attacked, x);
      const size = norm === "max" ? max(abs(change), -1) : sqrt(sum(mul(change, change), -1));
      for (const value of await data(size)) expect(value).toBeLessThanOrEqual(0.2 + 1e-9);
    },
  );

  test("a radius of 0 changes nothing, and nothing is differentiated through the attack", async () => {
    expect(await rows(pgd(loss, x, { radius: 0, steps: 3 }))).toEqual(await rows(x));
    const through = grad((w: Tensor) =>
      sum(
        mul(
          w,
          fgsm((z) => sum(mul(mul(w, z), z)), x, { radius: 0.1 }),
        ),
      ),
    );
    const [plain] = await rows(fgsm((z) => sum(mul(z, z)), x, { radius: 0.1 }));
    expect((await rows(through(tensor([[1, 1, 1], [1, 1, 1]], f64))))[0]).toEqual(plain); // biome-ignore format: a matrix
  });

  test("impossible options are refused", () => {
    expect(() => fgsm(loss, x, { radius: -1 })).toThrow(RangeError);
    expect(() => pgd(loss, x, { radius: 1, steps: 0 })).toThrow(/steps/);
  });
});
