import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
// Its layers are not used: the package registers the gradients that the core's Node build leaves out.
import "@tensorflow/tfjs-layers";
import * as tf from "@tensorflow/tfjs-core";
import { classBatches, measure, normals, tokenBatches } from "./measure.mjs";

/**
 * Times training steps (Adam) and inference of the benchmark's networks in TensorFlow.js on its WASM backend, which
 * has no threads in Node. Where a gradient of the library is slow or lacks a kernel on this backend, it is written here
 * from the kernels that are fast.
 */

const { resolve } = createRequire(import.meta.url);
setWasmPaths(join(dirname(resolve("@tensorflow/tfjs-backend-wasm/package.json")), "dist/"));
await tf.setBackend("wasm");
await tf.ready();

const random = (shape, scale) => tf.variable(tf.tensor(normals(shape, scale), shape));
const zeros = (shape) => tf.variable(tf.zeros(shape));
const ones = (shape) => tf.variable(tf.ones(shape));

const dense = (inputs, outputs) => ({
  w: random([inputs, outputs], Math.sqrt(2 / inputs)),
  b: zeros([outputs]),
});

/** The sum over rows as a matrix product, several times as fast as `tf.sum` over the first axis. */
const sumRows = (x) => tf.reshape(tf.matMul(tf.ones([1, x.shape[0]]), x), [x.shape[1]]);

const throughActivation = (activation, dy, output) =>
  activation === "relu" ? tf.mul(dy, tf.step(output)) : dy;

/**
 * A dense layer as the backend's fused kernel. Its gradient transposes before it multiplies: a product with a transpose
 * flag, as in the gradient that the library registers, leaves XNNPACK and is many times slower.
 */
function affine({ w, b }, x, activation = "linear") {
  const layer = tf.customGrad((input, weights, bias, save) => {
    const value = tf.fused.matMul({ a: input, b: weights, bias, activation });
    save([input, weights, value]);
    const gradFunc = (dy, [saved, matrix, output]) => {
      const d = throughActivation(activation, dy, output);
      return [tf.matMul(d, tf.transpose(matrix)), tf.matMul(tf.transpose(saved), d), sumRows(d)];
    };
    return { value, gradFunc };
  });
  return layer(x, w, b);
}

/** A dense layer on data, which needs no gradient. */
function affineOfData({ w, b }, x, activation = "linear") {
  const layer = tf.customGrad((weights, bias, save) => {
    const value = tf.fused.matMul({ a: x, b: weights, bias, activation });
    save([x, value]);
    const gradFunc = (dy, [saved, output]) => {
      const d = throughActivation(activation, dy, output);
      return [tf.matMul(tf.transpose(saved), d), sumRows(d)];
    };
    return { value, gradFunc };
  });
  return layer(w, b);
}

/** Mean cross-entropy with one-hot targets, in fewer kernels than `tf.losses.softmaxCrossEntropy`. */
function crossEntropy(logits, y) {
  const loss = tf.customGrad((x, save) => {
    const logs = tf.logSoftmax(x);
    save([logs, y]);
    const value = tf.mul(tf.sum(tf.mul(logs, y)), -1 / x.shape[0]);
    const gradFunc = (dy, [saved, target]) => tf.mul(tf.sub(tf.exp(saved), target), tf.div(dy, x.shape[0]));
    return { value, gradFunc };
  });
  return loss(logits);
}

const mlpForward = ([first, ...rest], x) =>
  rest.reduce(
    (h, layer, i) => affine(layer, h, i === rest.length - 1 ? "linear" : "relu"),
    affineOfData(first, x, "relu"),
  );

const classification = (forward) => (params, x, y) => crossEntropy(forward(params, x), y);

const mlp = (sizes, batch) => ({
  params: () => sizes.slice(1).map((n, i) => dense(sizes[i], n)),
  batches: () => classBatches(batch, [sizes[0]], sizes.at(-1)),
  shape: [batch, sizes[0]],
  classes: sizes.at(-1),
  forward: mlpForward,
  loss: classification(mlpForward),
});

/**
 * A 3×3 convolution with ReLU. The backend has no kernel for the gradient of a filter, which is itself a convolution:
 * of the input by the output's gradient, with channels and batch exchanged.
 */
function convolve({ w, b }, x, data = false) {
  const [, height, width, channels] = x.shape;
  const shape = [3, 3, channels, w.shape[1]];
  const layer = tf.customGrad((input, weights, bias, save) => {
    const filter = tf.reshape(weights, shape);
    const value = tf.fused.conv2d({ x: input, filter, strides: 1, pad: "same", bias, activation: "relu" });
    save([input, filter, value]);
    const gradFunc = (dy, [saved, kernel, output]) => {
      const d = throughActivation("relu", dy, output);
      const padded = tf.pad(saved, [
        [0, 0],
        [1, 1],
        [1, 1],
        [0, 0],
      ]);
      const exchanged = tf.conv2d(
        tf.transpose(padded, [3, 1, 2, 0]),
        tf.transpose(d, [1, 2, 0, 3]),
        1,
        "valid",
      );
      return [
        data
          ? tf.zerosLike(saved)
          : tf.conv2d(d, tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2]), 1, "same"),
        tf.reshape(tf.transpose(exchanged, [1, 2, 0, 3]), weights.shape),
        sumRows(tf.reshape(d, [-1, bias.size])),
      ];
    };
    return { value, gradFunc };
  });
  return tf.reshape(layer(x, w, b), [-1, height, width, w.shape[1]]);
}

function cnnForward(p, x) {
  const pool = (h) => tf.maxPool(h, 2, 2, "valid");
  const h = pool(convolve(p.conv2, pool(convolve(p.conv1, x, true))));
  return affine(p.head, tf.reshape(h, [-1, 128]));
}

const cnn = {
  params: () => ({ conv1: dense(9, 16), conv2: dense(144, 32), head: dense(128, 10) }),
  batches: () => classBatches(128, [8, 8, 1], 10),
  shape: [128, 8, 8, 1],
  classes: 10,
  forward: cnnForward,
  loss: classification(cnnForward),
};

const LM = { width: 128, heads: 4, layers: 2, context: 64, vocabulary: 64, batch: 8 };

function norm({ scale, offset }, x) {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centred), -1, true);
  return tf.add(tf.mul(tf.mul(centred, tf.rsqrt(tf.add(variance, 1e-5))), scale), offset);
}

const gelu = (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));

const mask = tf.tensor(
  Float32Array.from({ length: LM.context ** 2 }, (_, i) =>
    i % LM.context > Math.floor(i / LM.context) ? -1e9 : 0,
  ),
  [LM.context, LM.context],
);

/** Queries, keys and values have weights of their own: the backend's slices copy their whole source. */
function attention(block, h) {
  const { width, heads, context } = LM;
  const size = width / heads;
  const split = (layer) =>
    tf.transpose(tf.reshape(affine(layer, h), [-1, context, heads, size]), [0, 2, 1, 3]);
  const scores = tf.mul(tf.matMul(split(block.query), split(block.key), false, true), 1 / Math.sqrt(size));
  const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), split(block.value));
  return affine(block.out, tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, width]));
}

/** Tokens are one-hot, since the backend has no kernel for the gradient of a gather. */
function transformerForward(p, tokens) {
  const { width, context, vocabulary } = LM;
  const embedded = affineOfData({ w: p.embed, b: zeroBias }, tf.reshape(tokens, [-1, vocabulary]));
  let h = tf.reshape(tf.add(tf.reshape(embedded, [-1, context, width]), p.position), [-1, width]);
  for (const block of p.blocks) {
    h = tf.add(h, attention(block, norm(block.norm1, h)));
    h = tf.add(h, affine(block.down, gelu(affine(block.up, norm(block.norm2, h)))));
  }
  return affine(p.head, norm(p.norm, h));
}

const zeroBias = tf.zeros([LM.width]);

const transformer = {
  params: () => {
    const { width, layers, context, vocabulary } = LM;
    const unit = () => ({ scale: ones([width]), offset: zeros([width]) });
    return {
      embed: random([vocabulary, width], 0.02),
      position: random([context, width], 0.02),
      blocks: Array.from({ length: layers }, () => ({
        query: dense(width, width),
        key: dense(width, width),
        value: dense(width, width),
        out: dense(width, width),
        up: dense(width, 4 * width),
        down: dense(4 * width, width),
        norm1: unit(),
        norm2: unit(),
      })),
      norm: unit(),
      head: dense(width, vocabulary),
    };
  },
  batches: () => tokenBatches(LM.batch, LM.context, LM.vocabulary),
  shape: [LM.batch, LM.context],
  tokens: true,
  classes: LM.vocabulary,
  forward: transformerForward,
  loss: classification(transformerForward),
};

const GRU = { inputs: 32, hidden: 128, length: 32, batch: 32, classes: 10 };

/** Takes each input by a gather, which is a kernel of the backend; its slices are copies in JavaScript. */
function gruForward(p, x) {
  const gates = (projected) => tf.split(projected, 3, 1);
  let h = tf.zeros([x.shape[0], GRU.hidden]);
  for (let i = 0; i < GRU.length; i++) {
    const input = tf.gather(x, i, 1);
    const [resetX, updateX, candidateX] = gates(affineOfData(p.input, input));
    const [resetH, updateH, candidateH] = gates(affine(p.recurrent, h));
    const reset = tf.sigmoid(tf.add(resetX, resetH));
    const update = tf.sigmoid(tf.add(updateX, updateH));
    const candidate = tf.tanh(tf.add(candidateX, tf.mul(reset, candidateH)));
    h = tf.add(candidate, tf.mul(update, tf.sub(h, candidate)));
  }
  return affine(p.head, h);
}

const gru = {
  params: () => ({
    input: dense(GRU.inputs, 3 * GRU.hidden),
    recurrent: dense(GRU.hidden, 3 * GRU.hidden),
    head: dense(GRU.hidden, GRU.classes),
  }),
  batches: () => classBatches(GRU.batch, [GRU.length, GRU.inputs], GRU.classes),
  shape: [GRU.batch, GRU.length, GRU.inputs],
  classes: GRU.classes,
  forward: gruForward,
  loss: classification(gruForward),
};

const ENSEMBLE = { members: 16, sizes: [64, 64, 10], batch: 64 };

/** The members' first layers as one wide product, their second as a batched one. Gives [members × batch, classes]. */
function ensembleForward({ first, second }, x) {
  const { members, batch, sizes } = ENSEMBLE;
  const wide = tf.reshape(affineOfData(first, x, "relu"), [batch, members, sizes[1]]);
  const logits = tf.add(tf.matMul(tf.transpose(wide, [1, 0, 2]), second.w), second.b);
  return tf.reshape(logits, [members * batch, sizes[2]]);
}

const ensemble = {
  params: () => {
    const { members, sizes } = ENSEMBLE;
    return {
      first: dense(sizes[0], members * sizes[1]),
      second: {
        w: random([members, sizes[1], sizes[2]], Math.sqrt(2 / sizes[1])),
        b: zeros([members, 1, sizes[2]]),
      },
    };
  },
  batches: () => classBatches(ENSEMBLE.batch, [64], 10),
  shape: [64, 64],
  classes: 10,
  forward: ensembleForward,
  loss: (params, x, y) =>
    tf.mul(crossEntropy(ensembleForward(params, x), tf.tile(y, [ENSEMBLE.members, 1])), ENSEMBLE.members),
};

/** A product that transposes first, as in `affine`, and that can be differentiated twice. */
const product = tf.customGrad((a, b, save) => {
  save([a, b]);
  const gradFunc = (dy, [left, right]) => [product(dy, tf.transpose(right)), product(tf.transpose(left), dy)];
  return { value: tf.matMul(a, b), gradFunc };
});

/** An exponential that can be differentiated twice: the library's own gradient is cut off from its saved output. */
const exp = tf.customGrad((x, save) => {
  save([x]);
  return { value: tf.exp(x), gradFunc: (dy, [saved]) => tf.mul(dy, exp(saved)) };
});

/** Each row's largest value as a constant: the library has no second derivative of a maximum. */
const largest = tf.customGrad((x, save) => {
  save([x]);
  return { value: tf.max(x, 1, true), gradFunc: (_, [saved]) => tf.zerosLike(saved) };
});

const penalized = mlp([64, 128, 128, 10], 128);
const gradientPenalty = {
  ...penalized,
  loss: (params, x, y) => {
    const { value, grad } = tf.valueAndGrad((input) => {
      const logits = params.reduce((h, { w, b }, i) => {
        const sum = tf.add(product(h, w), b);
        return i === params.length - 1 ? sum : tf.relu(sum);
      }, input);
      const shifted = tf.sub(logits, largest(logits));
      return tf.mean(tf.sub(tf.log(tf.sum(exp(shifted), 1)), tf.sum(tf.mul(shifted, y), 1)));
    })(x);
    return tf.add(value, tf.mul(tf.sum(tf.square(grad)), 10 * x.shape[0]));
  },
};

const leaves = (tree) => (tree instanceof tf.Variable ? [tree] : Object.values(tree).flatMap(leaves));

function prepare(network) {
  const params = network.params();
  const variables = leaves(params);
  const oneHot = (classes, shape) =>
    tf.tidy(() => tf.cast(tf.oneHot(tf.tensor(classes, shape, "int32"), network.classes), "float32"));
  const batches = network.batches().map(({ x, y }) => ({
    x: network.tokens ? oneHot(x, network.shape) : tf.tensor(x, network.shape),
    y: oneHot(y, [y.length]),
  }));
  const optimizer = tf.train.adam(1e-3);
  return {
    train: async (i) => {
      const loss = optimizer.minimize(
        () => network.loss(params, batches[i].x, batches[i].y),
        true,
        variables,
      );
      const [value] = await loss.data();
      loss.dispose();
      return value;
    },
    infer: async (i) => {
      const prediction = tf.tidy(() => network.forward(params, batches[i].x));
      await prediction.data();
      prediction.dispose();
    },
    dispose: () => {
      tf.dispose([variables, batches]);
      optimizer.dispose();
    },
  };
}

const networks = {
  "mlp-784-256-256-10": mlp([784, 256, 256, 10], 128),
  "mlp-64-128-128-10": mlp([64, 128, 128, 10], 256),
  "mlp-2-32-32-2": mlp([2, 32, 32, 2], 32),
  "digits-cnn": cnn,
  transformer,
  gru,
  "ensemble-16": ensemble,
  "gradient-penalty": gradientPenalty,
};

await measure(
  `TensorFlow.js ${tf.version_core} WASM`,
  Object.fromEntries(Object.entries(networks).map(([name, network]) => [name, () => prepare(network)])),
);
