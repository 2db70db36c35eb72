import { readFileSync } from "node:fs";
import { grad, jit, jvp, lax, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { classBatches, measure, normals, size, tokenBatches } from "./measure.mjs";

/**
 * Times training steps (Adam) and inference of the benchmark's networks in jax-js, each compiled as a whole. It runs on
 * one thread: the library's others are Web Workers, which Node lacks.
 */

const array = (data, shape, options) => np.array(data, options).reshape(shape);
const random = (shape, scale) => array(normals(shape, scale), shape);
const zeros = (shape) => array(new Float32Array(size(shape)), shape);
const ones = (shape) => array(new Float32Array(size(shape)).fill(1), shape);

const dense = (inputs, outputs, members = []) => ({
  w: random([...members, inputs, outputs], Math.sqrt(2 / inputs)),
  b: zeros([...members, outputs]),
});

const affine = (layer, x) => np.matmul(x, layer.w).add(layer.b);

/** Mean cross-entropy against classes; the one-hot comparison fuses into the reduction. */
function crossEntropy(logits, y) {
  const classes = logits.shape.at(-1);
  const examples = size(logits.shape) / classes;
  return nn
    .logSoftmax(logits)
    .mul(nn.oneHot(y, classes))
    .sum()
    .mul(-1 / examples);
}

const mlpParams = (sizes, members) => sizes.slice(1).map((n, i) => dense(sizes[i], n, members));

const mlpForward = (params, x) =>
  params.reduce((h, layer, i) => (i === params.length - 1 ? affine(layer, h) : nn.relu(affine(layer, h))), x);

const classification = (forward) => (params, x, y) => crossEntropy(forward(params, x), y);

const mlp = (sizes, batch) => ({
  params: () => mlpParams(sizes),
  batches: () => classBatches(batch, [sizes[0]], sizes.at(-1)),
  shape: [batch, sizes[0]],
  forward: mlpForward,
  loss: classification(mlpForward),
});

/**
 * A 3×3 convolution over [batch, height, width, channels] as a matrix product with the stacked shifts of its input, in
 * two steps. It is ten times as fast as `lax.convGeneralDilated` on this backend.
 */
function convolve(layer, x) {
  const [batch, height, width, channels] = x.shape;
  const shifts = (array, shift) => np.concatenate([0, 1, 2].map(shift), array.ndim - 1);
  const padded = np.pad(x, [
    [0, 0],
    [1, 1],
    [1, 1],
    [0, 0],
  ]);
  const rows = shifts(padded, (i) => padded.ref.slice([], [i, i + height]));
  const columns = shifts(rows, (i) => rows.ref.slice([], [], [i, i + width]));
  padded.dispose();
  rows.dispose();
  return affine(layer, columns.reshape([-1, 9 * channels])).reshape([batch, height, width, -1]);
}

function cnnForward(p, x) {
  const pool = (h) => {
    const [batch, height, width, channels] = h.shape;
    return np.max(h.reshape([batch, height / 2, 2, width / 2, 2, channels]), [2, 4]);
  };
  const h = pool(nn.relu(convolve(p.conv2, pool(nn.relu(convolve(p.conv1, x))))));
  return affine(p.head, h.reshape([-1, 128]));
}

const cnn = {
  params: () => ({ conv1: dense(9, 16), conv2: dense(144, 32), head: dense(128, 10) }),
  batches: () => classBatches(128, [8, 8, 1], 10),
  shape: [128, 8, 8, 1],
  forward: cnnForward,
  loss: classification(cnnForward),
};

const LM = { width: 128, heads: 4, layers: 2, context: 64, vocabulary: 64, batch: 8 };

const norm = ({ scale, offset }, x) => nn.standardize(x).mul(scale).add(offset);

function attention(block, h) {
  const { width, heads, context } = LM;
  const head = width / heads;
  const qkv = affine(block.qkv, h).reshape([-1, context, 3, heads, head]).transpose([2, 0, 3, 1, 4]);
  const q = qkv.ref.slice(0);
  const k = qkv.ref.slice(1);
  const v = qkv.slice(2);
  const causal = np.tri(context, context, 0, { dtype: np.bool });
  const scores = np.matmul(q, k.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(head));
  const mixed = np.matmul(nn.softmax(np.where(causal, scores, -1e9)), v);
  return affine(block.out, mixed.transpose([0, 2, 1, 3]).reshape([-1, context, width]));
}

function transformerForward(p, tokens) {
  let h = np.matmul(nn.oneHot(tokens, LM.vocabulary), p.embed).add(p.position);
  for (const block of p.blocks) {
    h = h.ref.add(attention(block, norm(block.norm1, h)));
    const inner = nn.gelu(affine(block.up, norm(block.norm2, h.ref)), { approximate: false });
    h = h.add(affine(block.down, inner));
  }
  return affine(p.head, norm(p.norm, h));
}

const transformer = {
  params: () => {
    const { width, layers, context, vocabulary } = LM;
    const unit = () => ({ scale: ones([width]), offset: zeros([width]) });
    return {
      embed: random([vocabulary, width], 0.02),
      position: random([context, width], 0.02),
      blocks: Array.from({ length: layers }, () => ({
        qkv: dense(width, 3 * width),
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
  integer: true,
  forward: transformerForward,
  loss: classification(transformerForward),
};

const GRU = { inputs: 32, hidden: 128, length: 32, batch: 32, classes: 10 };

/**
 * The library has no `scan`, so the recurrence is unrolled in the compiled function. Projecting each input in its own
 * step is faster than all of them at once, whose gradient would be the sum of as many padded slices.
 */
function gruForward(p, x) {
  const { hidden, length } = GRU;
  const gates = (layer, array) => np.split(affine(tree.ref(layer), array), 3, 1);
  let h = np.zeros([x.shape[0], hidden]);
  for (let i = 0; i < length; i++) {
    const [resetX, updateX, candidateX] = gates(p.input, x.ref.slice([], i));
    const [resetH, updateH, candidateH] = gates(p.recurrent, h.ref);
    const reset = nn.sigmoid(resetX.add(resetH));
    const update = nn.sigmoid(updateX.add(updateH));
    const candidate = np.tanh(candidateX.add(reset.mul(candidateH)));
    h = candidate.ref.add(update.mul(h.sub(candidate)));
  }
  tree.dispose([p.input, p.recurrent, x]);
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
  forward: gruForward,
  loss: classification(gruForward),
};

const ENSEMBLE = { members: 16, sizes: [64, 64, 10], batch: 64 };

/**
 * The members' first layers as one wide matrix product and their second as a batched one, which is several times as
 * fast as `vmap` of one member.
 */
function ensembleForward([first, second], x) {
  const { members, batch, sizes } = ENSEMBLE;
  const wide = { w: first.w.transpose([1, 0, 2]).reshape([sizes[0], -1]), b: first.b.reshape([-1]) };
  const hidden = nn.relu(affine(wide, x)).reshape([batch, members, sizes[1]]).transpose([1, 0, 2]);
  return np.matmul(hidden, second.w).add(second.b.reshape([members, 1, -1]));
}

const ensemble = {
  params: () => mlpParams(ENSEMBLE.sizes, [ENSEMBLE.members]),
  batches: () => classBatches(ENSEMBLE.batch, [64], 10),
  shape: [64, 64],
  forward: ensembleForward,
  loss: (params, x, y) => crossEntropy(ensembleForward(params, x), y).mul(ENSEMBLE.members),
};

const penalized = mlp([64, 128, 128, 10], 128);
const gradientPenalty = {
  ...penalized,
  /**
   * The penalty |g|² as 2 g·v − |v|², where v is g held constant and g·v is a forward derivative: the same value and
   * gradient. The library's reverse derivative of a reverse derivative is wrong for more than one layer.
   */
  loss: (params, x, y) => {
    const batch = x.shape[0];
    const constants = tree.map((p) => lax.stopGradient(p), tree.ref(params));
    const on = (p) => (input) => penalized.loss(tree.ref(p), input, y.ref);
    const v = lax.stopGradient(grad(on(constants))(x.ref));
    const [loss, along] = jvp(on(params), [x], [v.ref]);
    tree.dispose([constants, params, y]);
    return loss.add(
      along
        .mul(2)
        .sub(np.square(v).sum())
        .mul(10 * batch),
    );
  },
};

/** Adam as the library's `optax` computes it, in one compiled function with the gradient. */
function trainer(loss) {
  const [rate, b1, b2] = [1e-3, 0.9, 0.999];
  return jit((params, mu, nu, count, x, y) => {
    const [value, gradient] = valueAndGrad(loss)(tree.ref(params), x, y);
    count = count.add(1);
    mu = tree.map((m, g) => m.mul(b1).add(g.mul(1 - b1)), mu, tree.ref(gradient));
    nu = tree.map((v, g) => v.mul(b2).add(np.square(g).mul(1 - b2)), nu, gradient);
    const correction = (decay) => np.reciprocal(np.subtract(1, np.power(decay, count.ref)));
    const c1 = correction(b1);
    const c2 = correction(b2);
    params = tree.map(
      (p, m, v) =>
        p.sub(
          m
            .mul(c1.ref)
            .div(np.sqrt(v.mul(c2.ref)).add(1e-8))
            .mul(rate),
        ),
      params,
      tree.ref(mu),
      tree.ref(nu),
    );
    c1.dispose();
    c2.dispose();
    return [value, params, mu, nu, count];
  });
}

async function prepare(network) {
  let params = network.params();
  let mu = tree.map((p) => zeros(p.shape), tree.ref(params));
  let nu = tree.map((p) => zeros(p.shape), tree.ref(params));
  let count = np.array(0, { dtype: np.float32 });
  const batches = network.batches().map(({ x, y }) => ({
    x: array(x, network.shape, network.integer ? { dtype: np.int32 } : undefined),
    y: array(y, network.integer ? network.shape : [network.shape[0]], { dtype: np.int32 }),
  }));
  const step = trainer(network.loss);
  const forward = jit(network.forward);
  return {
    train: async (i) => {
      let value;
      const { x, y } = batches[i];
      [value, params, mu, nu, count] = step(params, mu, nu, count, x.ref, y.ref);
      return value.dataSync()[0];
    },
    infer: async (i) => {
      forward(tree.ref(params), batches[i].x.ref).dataSync();
    },
    dispose: () => {
      tree.dispose([params, mu, nu, count, batches]);
      step.dispose();
      forward.dispose();
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

const version = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.resolve("@jax-js/jax"))),
).version;
await measure(
  `jax-js ${version} WASM`,
  Object.fromEntries(Object.entries(networks).map(([name, network]) => [name, () => prepare(network)])),
);
