import { data, random, type Tensor, tensor, treeLeaves } from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { encodeSafetensors, InvalidCheckpointError, type StoredArray } from "../checkpoints/index.ts";
import { transformer } from "../nn/index.ts";
import { characterTokenizer, GPT2_END_OF_TEXT, gpt2Tokenizer, loadGpt2, saveGpt2 } from "./index.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

/** A file with these tensors. */
async function fileOf(named: Iterable<readonly [string, Tensor]>): Promise<Uint8Array> {
  const stored: Record<string, StoredArray> = {};
  for (const [name, t] of named) stored[name] = { dtype: "float32", shape: t.shape, values: await data(t) };
  return encodeSafetensors(stored);
}

/** GPT-2's forward pass on one text in plain loops, from the checkpoint's own names. */
async function plainGpt2(
  named: ReadonlyMap<string, Tensor>,
  tokens: readonly number[],
  { width, heads, layers }: { width: number; heads: number; layers: number },
): Promise<number[][]> {
  const values = new Map<string, number[]>();
  for (const [name, t] of named) values.set(name, await numbers(t));
  const get = (name: string): number[] => values.get(name)!;
  const norm = (x: number[], name: string): number[] => {
    const mean = x.reduce((a, b) => a + b, 0) / width;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / width;
    return x.map(
      (v, i) =>
        ((v - mean) / Math.sqrt(variance + 1e-5)) * get(`${name}.weight`)[i]! + get(`${name}.bias`)[i]!,
    );
  };
  const linear = (x: number[], name: string): number[] => {
    const bias = get(`${name}.bias`);
    return bias.map((b, j) => x.reduce((s, v, i) => s + v * get(`${name}.weight`)[i * bias.length + j]!, b));
  };
  const gelu = (x: number): number =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  let xs = tokens.map((token, t) =>
    Array.from(
      { length: width },
      (_, i) => get("wte.weight")[token * width + i]! + get("wpe.weight")[t * width + i]!,
    ),
  );
  const size = width / heads;
  for (let l = 0; l < layers; l++) {
    const qkv = xs.map((x) => linear(norm(x, `h.${l}.ln_1`), `h.${l}.attn.c_attn`));
    const mixed = xs.map((_, t) =>
      Array.from({ length: width }, (_, i) => {
        const h = Math.floor(i / size);
        const scores = Array.from({ length: t + 1 }, (_, s) => {
          let dot = 0;
          for (let k = h * size; k < (h + 1) * size; k++) dot += qkv[t]![k]! * qkv[s]![width + k]!;
          return Math.exp(dot / Math.sqrt(size));
        });
        const total = scores.reduce((a, b) => a + b, 0);
        return scores.reduce((sum, w, s) => sum + (w / total) * qkv[s]![2 * width + i]!, 0);
      }),
    );
    xs = xs.map((x, t) => linear(mixed[t]!, `h.${l}.attn.c_proj`).map((v, i) => v + x[i]!));
    xs = xs.map((x) => {
      const expanded = linear(norm(x, `h.${l}.ln_2`), `h.${l}.mlp.c_fc`).map(gelu);
      return linear(expanded, `h.${l}.mlp.c_proj`).map((v, i) => v + x[i]!);
    });
  }
  const vocabulary = get("wte.weight").length / width;
  return xs.map((x) => {
    const last = norm(x, "ln_f");
    return Array.from({ length: vocabulary }, (_, v) =>
      last.reduce((s, value, i) => s + value * get("wte.weight")[v * width + i]!, 0),
    );
  });
}

describe("GPT-2 checkpoints", () => {
  const shape = { vocabulary: 11, context: 6, width: 8, heads: 2, layers: 2 };
  /** As the checkpoint names its tensors, all of them random. */
  const named = new Map<string, Tensor>();
  const { width } = shape;
  const sizes: [string, number[]][] = [
    ["wte.weight", [shape.vocabulary, width]],
    ["wpe.weight", [shape.context, width]],
    ...[0, 1].flatMap((l): [string, number[]][] => [
      [`h.${l}.ln_1.weight`, [width]],
      [`h.${l}.ln_1.bias`, [width]],
      [`h.${l}.attn.c_attn.weight`, [width, 3 * width]],
      [`h.${l}.attn.c_attn.bias`, [3 * width]],
      [`h.${l}.attn.c_proj.weight`, [width, width]],
      [`h.${l}.attn.c_proj.bias`, [width]],
      [`h.${l}.ln_2.weight`, [width]],
      [`h.${l}.ln_2.bias`, [width]],
      [`h.${l}.mlp.c_fc.weight`, [width, 4 * width]],
      [`h.${l}.mlp.c_fc.bias`, [4 * width]],
      [`h.${l}.mlp.c_proj.weight`, [4 * width, width]],
      [`h.${l}.mlp.c_proj.bias`, [width]],
    ]),
    ["ln_f.weight", [width]],
    ["ln_f.bias", [width]],
  ];
  sizes.forEach(([name, size], i) => {
    named.set(name, random.normal(random.fold(random.key(9), i), size));
  });

  test("the logits are those of GPT-2 computed in plain loops, under either naming", async () => {
    const tokens = [3, 10, 0, 7, 7];
    const expected = (await plainGpt2(named, tokens, shape)).flat();
    for (const prefix of ["", "transformer."]) {
      const file = await fileOf([...named].map(([name, t]) => [prefix + name, t] as const));
      const { model, params, vocabulary, context, layers } = loadGpt2(file, { heads: 2 });
      expect([vocabulary, context, layers]).toEqual([11, 6, 2]);
      const logits = await numbers(model.apply(params, tensor([tokens], { dtype: "int32" })));
      logits.forEach((value, i) => {
        expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-4 * (1 + Math.abs(expected[i]!)));
      });
    }
  });

  test("saving and loading gives the same parameters", async () => {
    const { params } = loadGpt2(await fileOf(named), { heads: 2 });
    const again = loadGpt2(await saveGpt2(params), { heads: 2 }).params;
    const [a, b] = await Promise.all([params, again].map((p) => Promise.all(treeLeaves(p).map(numbers))));
    expect(b).toEqual(a);
  });

  test("what is missing or misshapen is named", async () => {
    const file = async (change: (all: Map<string, Tensor>) => void): Promise<Uint8Array> => {
      const all = new Map(named);
      change(all);
      return fileOf(all);
    };
    const zeros = (n: number) => tensor(new Float32Array(n));
    expect(() => loadGpt2(new Uint8Array(3))).toThrow(InvalidCheckpointError);
    const whole = await file(() => {});
    expect(() => loadGpt2(whole)).toThrow(/number of heads/);
    const noBias = await file((all) => all.delete("h.1.mlp.c_fc.bias"));
    expect(() => loadGpt2(noBias, { heads: 2 })).toThrow(/no tensor h.1.mlp.c_fc.bias/);
    const short = await file((all) => all.set("h.0.ln_1.bias", zeros(7)));
    expect(() => loadGpt2(short, { heads: 2 })).toThrow(/h.0.ln_1.bias is/);
    const noBlocks = await fileOf([...named].filter(([name]) => !name.startsWith("h.")));
    expect(() => loadGpt2(noBlocks, { heads: 2 })).toThrow(/no blocks/);
    const untied = await file((all) => all.set("lm_head.weight", zeros(7)));
    expect(() => loadGpt2(untied, { heads: 2 })).toThrow(/tied/);
    const model = transformer(shape);
    const { blocks, ...rest } = model.init(random.key(0));
    const first = { ...blocks[0]!, expand: { ...blocks[0]!.expand, bias: null } };
    await expect(saveGpt2({ ...rest, blocks: [first] })).rejects.toThrow(/no bias/);
  });
});

describe("tokenizers", () => {
  test("characters, beyond the basic plane too, come back", () => {
    const tokenizer = characterTokenizer("ab🙂a");
    expect(tokenizer.vocabulary).toBe(3);
    expect([...tokenizer.encode("b🙂")]).toEqual([1, 2]);
    expect(tokenizer.decode([2, 0])).toBe("🙂a");
    expect(() => tokenizer.encode("c")).toThrow(/"c"/);
    expect(() => tokenizer.decode([3])).toThrow(RangeError);
    expect(() => characterTokenizer("")).toThrow(RangeError);
  });

  test("GPT-2's encoding has its published ids and gives any text back", async () => {
    const tokenizer = await gpt2Tokenizer();
    expect(tokenizer.vocabulary).toBe(50257);
    expect([...tokenizer.encode("Hello world")]).toEqual([15496, 995]);
    expect([...tokenizer.encode("<|endoftext|>")]).not.toContain(GPT2_END_OF_TEXT);
    expect(tokenizer.decode([GPT2_END_OF_TEXT])).toBe("<|endoftext|>");
    for (const text of ["", "naïve 🙂\n\ttabs", "<|endoftext|>", "数学"])
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(() => tokenizer.decode([50257])).toThrow(RangeError);
  });
});
