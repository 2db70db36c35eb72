import { data, type Tensor } from "@prior-art/tensor";
import { decodeSafetensors, encodeSafetensors, type StoredArray, toTensor } from "../checkpoints/index.ts";
import { type TransformerBlock, type TransformerParams, transformer } from "../nn/index.ts";
import type { Transformer } from "./tokenModel.ts";

export interface Gpt2Options {
  /** `n_head` of the checkpoint's configuration; the width divided by 64, as in all of GPT-2's sizes, by default. */
  readonly heads?: number;
}

export interface Gpt2Checkpoint {
  readonly model: Transformer;
  readonly params: TransformerParams;
  readonly vocabulary: number;
  readonly context: number;
  readonly width: number;
  readonly layers: number;
}

/**
 * A transformer from a GPT-2-style checkpoint in a safetensors file (names such as `h.0.attn.c_attn.weight`, with or
 * without the prefix `transformer.`): pre-norm blocks, learned positions, GELU by tanh, logits by the embedding's table.
 * @throws InvalidCheckpointError for a broken file. @throws RangeError when a tensor is missing or of the wrong shape.
 * @example
 * const { model, params } = loadGpt2(new Uint8Array(await file.arrayBuffer()));
 * const tokens = (await gpt2Tokenizer()).encode("Once upon a time");
 */
export function loadGpt2(file: Uint8Array, options: Gpt2Options = {}): Gpt2Checkpoint {
  const { tensors } = decodeSafetensors(file);
  const has = (name: string): boolean => Object.hasOwn(tensors, name);
  const prefix = has("transformer.wte.weight") ? "transformer." : "";
  const take = (name: string, shape?: readonly number[]): Tensor => {
    if (!has(prefix + name)) throw new RangeError(`loadGpt2: the file has no tensor ${prefix}${name}`);
    const found = tensors[prefix + name]!;
    const wanted = shape ?? [found.shape[0] ?? 0, found.shape[1] ?? 0];
    if (found.dtype !== "float32" || found.shape.join() !== wanted.join())
      throw new RangeError(
        `loadGpt2: ${name} is ${found.dtype}[${found.shape.join(", ")}], not float32[${wanted.join(", ")}]`,
      );
    return toTensor(found);
  };
  const tokens = take("wte.weight");
  const [vocabulary, width] = tokens.shape as [number, number];
  const positions = take("wpe.weight");
  const context = positions.shape[0]!;
  take("wpe.weight", [context, width]);
  let layers = 0;
  while (has(`${prefix}h.${layers}.ln_1.weight`)) layers++;
  if (layers === 0) throw new RangeError("loadGpt2: the file has no blocks");
  const hidden = take("h.0.mlp.c_fc.weight").shape[1]!;
  const heads = options.heads ?? width / 64;
  if (!(Number.isInteger(heads) && heads >= 1))
    throw new RangeError(`loadGpt2: a width of ${width} doesn't tell the number of heads; pass it`);
  if (has("lm_head.weight") && tensors["lm_head.weight"]!.shape.join() !== tokens.shape.join())
    throw new RangeError("loadGpt2: lm_head.weight doesn't have the shape of the embedding it is tied to");

  const norm = (name: string) => ({
    scale: take(`${name}.weight`, [width]),
    offset: take(`${name}.bias`, [width]),
  });
  const dense = (name: string, inputs: number, outputs: number) => ({
    weight: take(`${name}.weight`, [inputs, outputs]),
    bias: take(`${name}.bias`, [outputs]),
  });
  const block = (at: string): TransformerBlock => ({
    attentionNorm: norm(`${at}.ln_1`),
    attention: {
      projection: dense(`${at}.attn.c_attn`, width, 3 * width),
      output: dense(`${at}.attn.c_proj`, width, width),
    },
    feedForwardNorm: norm(`${at}.ln_2`),
    expand: dense(`${at}.mlp.c_fc`, width, hidden),
    contract: dense(`${at}.mlp.c_proj`, hidden, width),
  });
  return {
    model: transformer({ vocabulary, context, width, heads, layers, hidden, activation: "geluTanh" }),
    params: {
      tokens: { table: tokens },
      positions: { table: positions },
      blocks: Array.from({ length: layers }, (_, i) => block(`h.${i}`)),
      norm: norm("ln_f"),
    },
    vocabulary,
    context,
    width,
    layers,
  };
}

/** A safetensors file of a transformer's parameters under GPT-2's names. @throws RangeError for layers without biases. */
export async function saveGpt2(params: TransformerParams): Promise<Uint8Array<ArrayBuffer>> {
  const named: [string, Tensor][] = [];
  const norm = (name: string, { scale, offset }: TransformerParams["norm"]): void => {
    named.push([`${name}.weight`, scale], [`${name}.bias`, offset]);
  };
  const dense = (name: string, { weight, bias }: TransformerBlock["expand"]): void => {
    if (!bias) throw new RangeError(`saveGpt2: ${name} has no bias, and GPT-2's has`);
    named.push([`${name}.weight`, weight], [`${name}.bias`, bias]);
  };
  named.push(["wte.weight", params.tokens.table], ["wpe.weight", params.positions.table]);
  params.blocks.forEach((block, i) => {
    norm(`h.${i}.ln_1`, block.attentionNorm);
    dense(`h.${i}.attn.c_attn`, block.attention.projection);
    dense(`h.${i}.attn.c_proj`, block.attention.output);
    norm(`h.${i}.ln_2`, block.feedForwardNorm);
    dense(`h.${i}.mlp.c_fc`, block.expand);
    dense(`h.${i}.mlp.c_proj`, block.contract);
  });
  norm("ln_f", params.norm);
  const stored: Record<string, StoredArray> = {};
  for (const [name, value] of named)
    stored[name] = { dtype: "float32", shape: value.shape, values: Float32Array.from(await data(value)) };
  return encodeSafetensors(stored, { format: "pt" });
}
