import {
  add,
  data,
  grad,
  item,
  mul,
  random,
  slice,
  sub,
  sum,
  type Tensor,
  tensor,
  treeMap,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { type TransformerParams, transformer } from "../nn/index.ts";

import {
  type Adapter,
  denseWeights,
  fullFineTuning,
  type LoraFactors,
  lora,
  loraScale,
  matrixAdapter,
} from "./index.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

describe("adapters", () => {
  const model = transformer({ vocabulary: 5, context: 4, width: 8, heads: 2, layers: 2 });
  const base = model.init(random.key(0));
  const tokens = tensor([[0, 1, 2, 3]], { dtype: "int32" });

  test("LoRA starts at the base model and adds scale · a b to dense weights only", async () => {
    const adapter = lora<TransformerParams>({ rank: 2, alpha: 6 });
    const factors = adapter.init(random.key(1), base);
    expect(Object.keys(factors).length).toBe(8);
    expect(await numbers(model.apply(adapter.merge(base, factors), tokens))).toEqual(
      await numbers(model.apply(base, tokens)),
    );
    const moved = treeMap((t) => add(t, 0.5), factors);
    const merged = adapter.merge(base, moved);
    const path = "blocks[1].expand.weight";
    const { a, b } = (moved as Record<string, LoraFactors>)[path]!;
    const [product, before, after] = await Promise.all(
      [
        sum(mul(slice(a, 3), slice(b, null, 7))),
        base.blocks[1]!.expand.weight,
        merged.blocks[1]!.expand.weight,
      ].map(numbers),
    );
    const at = 3 * 32 + 7;
    expect(after![at]! - before![at]!).toBeCloseTo(3 * product![0]!, 5);
    expect(merged.tokens.table).toBe(base.tokens.table);
    expect(merged.blocks[0]!.expand.bias).toBe(base.blocks[0]!.expand.bias);
  });

  test("at the start only b gets a gradient, and it is scale · aᵀ G", async () => {
    const adapter = lora<TransformerParams>({ rank: 2, alpha: 4 });
    const factors = adapter.init(random.key(1), base);
    const loss = (p: TransformerParams) => sum(mul(model.apply(p, tokens), 0.1));
    const full = grad(loss)(base).blocks[0]!.contract.weight;
    const own = grad((f: typeof factors) => loss(adapter.merge(base, f)))(factors) as Record<
      string,
      LoraFactors
    >;
    const { a, b } = own["blocks[0].contract.weight"]!;
    expect((await numbers(a)).every((v) => v === 0)).toBe(true);
    const factor = (factors as Record<string, LoraFactors>)["blocks[0].contract.weight"]!.a;
    const expected = sum(mul(slice(factor, null, 1), slice(full, null, 3)));
    expect((await numbers(b))[8 + 3]).toBeCloseTo(2 * (await item(expected)), 5);
  });

  test("scales, targets and full fine-tuning", () => {
    expect(loraScale({ rank: 4, alpha: 8 })).toBe(2);
    expect(loraScale({ rank: 4, alpha: 8, scaling: "root" })).toBe(4);
    const attentionOnly = lora<TransformerParams>({
      rank: 1,
      targets: (path, weight) => denseWeights(path, weight) && path.includes("attention."),
    });
    expect(Object.keys(attentionOnly.init(random.key(0), base)).length).toBe(4);
    const all: Adapter<TransformerParams, TransformerParams> = fullFineTuning();
    expect(all.merge(base, all.init(random.key(0), base))).toBe(base);
    expect(() => lora({ rank: 0 })).toThrow(RangeError);
    expect(() => lora({ rank: 1, targets: () => false }).init(random.key(0), base)).toThrow(/target/);
  });

  test("a reparametrization of one's own gets each weight's path, and a key of its own in training", async () => {
    const noisy = matrixAdapter<TransformerParams, { s: Tensor }>({
      targets: (path) => path.endsWith("contract.weight"),
      init: () => ({ s: tensor(1) }),
      merge: (weight, { s }, key, path) => {
        expect(path).toMatch(/^blocks\[[01]\]/);
        return key ? add(weight, random.normal(key, weight.shape)) : mul(weight, s);
      },
    });
    const factors = noisy.init(random.key(0), base);
    const still = noisy.merge(base, factors);
    expect(await numbers(still.blocks[0]!.contract.weight)).toEqual(
      await numbers(base.blocks[0]!.contract.weight),
    );
    const stirred = noisy.merge(base, factors, random.key(1));
    const [first, second] = await Promise.all(
      [0, 1].map((i) => numbers(sub(stirred.blocks[i]!.contract.weight, base.blocks[i]!.contract.weight))),
    );
    expect(first).not.toEqual(second);
  });
});
