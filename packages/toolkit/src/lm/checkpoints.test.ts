import { data, random, type Tensor, tensor, treeLeaves } from "@prior-art/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { transformer } from "../nn/index.ts";
import {
  characterTokenizer,
  decodeSafetensors,
  encodeSafetensors,
  GPT2_END_OF_TEXT,
  gpt2Tokenizer,
  loadGpt2,
  saveGpt2,
} from "./index.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

/** A file with this header (text or data) and these bytes after it. */
function fileOf(header: unknown, bytes: Uint8Array = new Uint8Array()): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + bytes.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(bytes, 8 + json.length);
  return file;
}

describe("safetensors", () => {
  test("tensors of every dtype come back as they were, with their notes, from an unaligned buffer too", async () => {
    const tensors: [string, Tensor][] = [
      ["floats", tensor([[1.5, -2], [0, 3e-9]])], // biome-ignore format: a matrix
      ["doubles", tensor(new Float64Array([Math.PI]))],
      ["ints", tensor(Int32Array.of(7, -7, 2 ** 31 - 1))],
      ["bools", tensor([true, false, true])],
      ["empty", tensor(new Float32Array(), { shape: [0, 3] })],
      ["scalar", tensor(4)],
      ["lazy", random.normal(random.key(1), [2, 2])],
    ];
    const file = await encodeSafetensors(tensors, { made: "by a test", quoted: 'a "b"' });
    const shifted = new Uint8Array(file.length + 3);
    shifted.set(file, 3);
    for (const bytes of [file, shifted.subarray(3)]) {
      const { tensors: read, metadata } = decodeSafetensors(bytes);
      expect([...metadata]).toEqual([["made", "by a test"], ["quoted", 'a "b"']]); // biome-ignore format: pairs
      expect([...read.keys()]).toEqual(tensors.map(([name]) => name));
      for (const [name, value] of tensors) {
        const back = read.get(name)!;
        expect([back.dtype, back.shape]).toEqual([value.dtype, value.shape]);
        expect(await numbers(back)).toEqual(await numbers(value));
      }
    }
    // Numbers start at a multiple of eight.
    expect(Number(new DataView(file.buffer).getBigUint64(0, true)) % 8).toBe(0);
  });

  test("a file written byte by byte is read as the format says", async () => {
    const file = fileOf(
      {
        half: { dtype: "F16", shape: [5], data_offsets: [0, 10] },
        brain: { dtype: "BF16", shape: [2], data_offsets: [10, 14] },
        long: { dtype: "I64", shape: [1], data_offsets: [14, 22] },
        byte: { dtype: "I8", shape: [2], data_offsets: [22, 24] },
      },
      Uint8Array.of(
        ...[0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x7c, 0x00, 0xfe], // 1, −2, 2⁻²⁴, ∞, NaN
        ...[0x80, 0x3f, 0x49, 0xc0], // 1, −3.140625
        ...[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // −2
        ...[0x80, 0x7f],
      ),
    );
    const { tensors } = decodeSafetensors(file);
    expect(await numbers(tensors.get("half")!)).toEqual([
      1,
      -2,
      2 ** -24,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ]);
    expect(await numbers(tensors.get("brain")!)).toEqual([1, -3.140625]);
    expect(await numbers(tensors.get("long")!)).toEqual([-2]);
    expect(await numbers(tensors.get("byte")!)).toEqual([-128, 127]);
  });

  const entry = (shape: unknown, offsets: unknown, dtype: unknown = "F32") => ({
    t: { dtype, shape, data_offsets: offsets },
  });
  const four = new Uint8Array(4);
  const hostile: [string, Uint8Array, RegExp][] = [
    ["no room for the length", new Uint8Array(7), /shorter/],
    ["a header longer than the file", fileOf("{}").subarray(0, 9), /inside its header/],
    ["a header of 2⁶³ bytes", Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128, 0), /claims/],
    ["a header that is no JSON", fileOf("{"), /not JSON/],
    ["a header that is no UTF-8", fileOf("").length ? rawHeader(0xff, 0xfe) : four, /not JSON/],
    ["a header that is a list", fileOf([]), /not an object/],
    ["an entry that is a number", fileOf({ t: 3 }), /not an object/],
    ["an unknown dtype", fileOf(entry([1], [0, 4], "F8_E4M3"), four), /not supported/],
    ["a dtype from the prototype", fileOf(entry([1], [0, 4], "toString"), four), /not supported/],
    ["a negative size", fileOf(entry([-1], [0, 4]), four), /no list of sizes/],
    ["a fractional size", fileOf(entry([1.5], [0, 6]), four), /no list of sizes/],
    ["sizes that overflow", fileOf(entry([2 ** 40, 2 ** 40], [0, 4]), four), /doesn't fit/],
    ["a range that ends before it starts", fileOf(entry([1], [4, 0]), four), /no range/],
    ["a range of three", fileOf(entry([1], [0, 4, 8]), four), /no range/],
    ["a shape too large for its range", fileOf(entry([2], [0, 4]), four), /doesn't fit/],
    ["a range past the end", fileOf(entry([2], [0, 8]), four), /take 8 bytes of 4/],
    ["bytes that nothing claims", fileOf(entry([1], [0, 4]), new Uint8Array(8)), /take 4 bytes of 8/],
    ["a gap", fileOf(entry([1], [4, 8]), new Uint8Array(8)), /starts at byte 4/],
    [
      "an overlap",
      fileOf({ ...entry([1], [0, 4]), u: entry([1], [2, 6]).t }, new Uint8Array(6)),
      /starts at byte 2/,
    ],
    ["notes that are no text", fileOf({ __metadata__: { a: 1 } }), /no text/],
    [
      "a whole number beyond int32",
      fileOf(entry([1], [0, 8], "I64"), Uint8Array.of(0, 0, 0, 0, 1, 0, 0, 0)),
      /int32/,
    ],
    ["a bool that is 2", fileOf(entry([1], [0, 1], "BOOL"), Uint8Array.of(2)), /no bool/],
  ];
  test.each(hostile)("%s is refused", (_, file, reason) => {
    expect(() => decodeSafetensors(file)).toThrow(RangeError);
    expect(() => decodeSafetensors(file)).toThrow(reason);
  });

  function rawHeader(...bytes: number[]): Uint8Array {
    const file = new Uint8Array(8 + bytes.length);
    file[0] = bytes.length;
    file.set(bytes, 8);
    return file;
  }

  test("a name from the prototype is a name like others", async () => {
    const file = fileOf(`{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, Uint8Array.of(9));
    expect(await numbers(decodeSafetensors(file).tensors.get("__proto__")!)).toEqual([9]);
  });

  test("no garbage makes it do anything but refuse", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.json(), (bytes, json) => {
        for (const file of [bytes, fileOf(json, bytes)])
          try {
            decodeSafetensors(file);
          } catch (error) {
            expect(error).toBeInstanceOf(RangeError);
          }
      }),
      { numRuns: 300 },
    );
  });

  test("what has no place in a file is refused", async () => {
    await expect(encodeSafetensors([["k", random.key(0)]])).rejects.toThrow(/no place/);
    await expect(encodeSafetensors([["a", tensor(1)], ["a", tensor(2)]])).rejects.toThrow(/taken/); // biome-ignore format: pairs
  });
});

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
      const file = await encodeSafetensors([...named].map(([name, t]) => [prefix + name, t] as const));
      const { model, params, vocabulary, context, layers } = loadGpt2(file, { heads: 2 });
      expect([vocabulary, context, layers]).toEqual([11, 6, 2]);
      const logits = await numbers(model.apply(params, tensor([tokens], { dtype: "int32" })));
      logits.forEach((value, i) => {
        expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-4 * (1 + Math.abs(expected[i]!)));
      });
    }
  });

  test("saving and loading gives the same parameters", async () => {
    const { params } = loadGpt2(await encodeSafetensors(named), { heads: 2 });
    const again = loadGpt2(await saveGpt2(params), { heads: 2 }).params;
    const [a, b] = await Promise.all([params, again].map((p) => Promise.all(treeLeaves(p).map(numbers))));
    expect(b).toEqual(a);
  });

  test("what is missing or misshapen is named", async () => {
    const file = async (change: (all: Map<string, Tensor>) => void): Promise<Uint8Array> => {
      const all = new Map(named);
      change(all);
      return encodeSafetensors(all);
    };
    const zeros = (n: number) => tensor(new Float32Array(n));
    expect(() => loadGpt2(new Uint8Array(3))).toThrow(/safetensors/);
    const whole = await file(() => {});
    expect(() => loadGpt2(whole)).toThrow(/number of heads/);
    const noBias = await file((all) => all.delete("h.1.mlp.c_fc.bias"));
    expect(() => loadGpt2(noBias, { heads: 2 })).toThrow(/no tensor h.1.mlp.c_fc.bias/);
    const short = await file((all) => all.set("h.0.ln_1.bias", zeros(7)));
    expect(() => loadGpt2(short, { heads: 2 })).toThrow(/h.0.ln_1.bias is/);
    const noBlocks = await encodeSafetensors([...named].filter(([name]) => !name.startsWith("h.")));
    expect(() => loadGpt2(noBlocks, { heads: 2 })).toThrow(/no blocks/);
    const untied = await file((all) => all.set("lm_head.weight", zeros(7)));
    expect(() => loadGpt2(untied, { heads: 2 })).toThrow(/tied/);
    const model = transformer(shape);
    const { blocks, ...rest } = model.init(random.key(0));
    const first = { ...blocks[0]!, expand: { ...blocks[0]!.expand, bias: null } };
    expect(() => saveGpt2({ ...rest, blocks: [first] })).toThrow(/no bias/);
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
