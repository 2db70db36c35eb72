import * as t from "@prior-art/tensor";

/**
 * The eight networks of the benchmark: how to make parameters, a stack of batches, the loss of one batch, and the
 * prediction that inference times. Sizes are mirrored by `peers/`.
 */

const dense = (key, inputs, outputs) => ({
  w: t.mul(t.random.normal(key, [inputs, outputs]), Math.sqrt(2 / inputs)),
  b: t.zeros([outputs]),
});

const affine = (layer, x) => t.add(t.matmul(x, layer.w), layer.b);

const classBatches = (key, steps, batch, shape, classes) => {
  const [kx, ky] = t.random.keys(key, 2);
  return {
    x: t.random.normal(kx, [steps, batch, ...shape]),
    y: t.oneHot(t.random.randint(ky, [steps, batch], 0, classes), classes),
  };
};

const mlpParams = (sizes) => (key) => sizes.slice(1).map((n, i) => dense(t.random.fold(key, i), sizes[i], n));

const mlpForward = (params, x) =>
  params.reduce((h, layer, i) => (i === params.length - 1 ? affine(layer, h) : t.relu(affine(layer, h))), x);

const mlp = (sizes, batch, steps) => ({
  init: mlpParams(sizes),
  batches: (key) => classBatches(key, steps, batch, [sizes[0]], sizes.at(-1)),
  forward: mlpForward,
  loss: (params, { x, y }) => t.crossEntropy(mlpForward(params, x), y),
  steps,
});

const CNN = { batch: 128, steps: 20 };

const cnnForward = (p, x) => {
  const bias = (b) => t.reshape(b, [1, b.size, 1, 1]);
  const conv = (layer, h) => t.relu(t.add(t.conv2d(h, layer.w, { padding: "same" }), bias(layer.b)));
  const first = t.maxPool2d(conv(p.conv1, x), 2);
  const second = t.maxPool2d(conv(p.conv2, first), 2);
  return affine(p.head, t.reshape(second, [x.shape[0], 128]));
};

const cnn = {
  init: (key) => {
    const [k1, k2, k3] = t.random.keys(key, 3);
    return {
      conv1: { w: t.mul(t.random.normal(k1, [16, 1, 3, 3]), Math.sqrt(2 / 9)), b: t.zeros([16]) },
      conv2: { w: t.mul(t.random.normal(k2, [32, 16, 3, 3]), Math.sqrt(2 / 144)), b: t.zeros([32]) },
      head: dense(k3, 128, 10),
    };
  },
  batches: (key) => classBatches(key, CNN.steps, CNN.batch, [1, 8, 8], 10),
  forward: cnnForward,
  loss: (params, { x, y }) => t.crossEntropy(cnnForward(params, x), y),
  steps: CNN.steps,
};

const LM = { width: 128, heads: 4, layers: 2, context: 64, vocabulary: 64, batch: 8, steps: 10 };

const attention = (block, h) => {
  const { width, heads, context } = LM;
  const size = width / heads;
  const qkv = t.reshape(affine(block.qkv, h), [-1, context, 3, heads, size]);
  const [q, k, v] = [0, 1, 2].map((i) => t.transpose(t.slice(qkv, null, null, i), [0, 2, 1, 3]));
  const scores = t.mul(t.matmul(q, t.matrixTranspose(k)), 1 / Math.sqrt(size));
  const masked = t.add(scores, causalMask);
  const mixed = t.matmul(t.softmax(masked), v);
  return affine(block.out, t.reshape(t.transpose(mixed, [0, 2, 1, 3]), h.shape));
};

const causalMask = t.tensor(
  Float32Array.from({ length: LM.context ** 2 }, (_, i) =>
    i % LM.context > Math.floor(i / LM.context) ? -1e9 : 0,
  ),
  { shape: [LM.context, LM.context] },
);

const transformerForward = (p, tokens) => {
  let h = t.add(t.take(p.embed, tokens), p.position);
  for (const block of p.blocks) {
    h = t.add(h, attention(block, t.layerNorm(h, block.scale1, block.offset1)));
    const inner = t.gelu(affine(block.up, t.layerNorm(h, block.scale2, block.offset2)));
    h = t.add(h, affine(block.down, inner));
  }
  return affine(p.head, t.layerNorm(h, p.scale, p.offset));
};

const transformer = {
  init: (key) => {
    const { width, layers, context, vocabulary } = LM;
    const unit = () => ({ scale: t.ones([width]), offset: t.zeros([width]) });
    const block = (k) => {
      const [k1, k2, k3, k4] = t.random.keys(k, 4);
      const [n1, n2] = [unit(), unit()];
      return {
        qkv: dense(k1, width, 3 * width),
        out: dense(k2, width, width),
        up: dense(k3, width, 4 * width),
        down: dense(k4, 4 * width, width),
        scale1: n1.scale,
        offset1: n1.offset,
        scale2: n2.scale,
        offset2: n2.offset,
      };
    };
    const [ke, kp, kh] = t.random.keys(key, 3);
    return {
      embed: t.mul(t.random.normal(ke, [vocabulary, width]), 0.02),
      position: t.mul(t.random.normal(kp, [context, width]), 0.02),
      blocks: Array.from({ length: layers }, (_, i) => block(t.random.fold(key, i))),
      head: dense(kh, width, vocabulary),
      ...unit(),
    };
  },
  batches: (key) => {
    const tokens = t.random.randint(key, [LM.steps, LM.batch, LM.context], 0, LM.vocabulary);
    return { x: tokens, y: t.oneHot(t.roll(tokens, -1, 2), LM.vocabulary) };
  },
  forward: transformerForward,
  loss: (params, { x, y }) => t.crossEntropy(transformerForward(params, x), y),
  steps: LM.steps,
};

const GRU = { inputs: 32, hidden: 128, length: 32, batch: 32, classes: 10, steps: 10 };

const gruForward = (p, x) => {
  const { hidden } = GRU;
  const gates = affine(p.input, t.transpose(x, [1, 0, 2]));
  const part = (g, i) => t.slice(g, null, [i * hidden, (i + 1) * hidden]);
  const [last] = t.scan(
    (h, gx) => {
      const gh = affine(p.recurrent, h);
      const reset = t.sigmoid(t.add(part(gx, 0), part(gh, 0)));
      const update = t.sigmoid(t.add(part(gx, 1), part(gh, 1)));
      const candidate = t.tanh(t.add(part(gx, 2), t.mul(reset, part(gh, 2))));
      return [t.add(candidate, t.mul(update, t.sub(h, candidate))), null];
    },
    t.zeros([x.shape[0], hidden]),
    gates,
  );
  return affine(p.head, last);
};

const gru = {
  init: (key) => {
    const [k1, k2, k3] = t.random.keys(key, 3);
    const { inputs, hidden, classes } = GRU;
    return {
      input: dense(k1, inputs, 3 * hidden),
      recurrent: dense(k2, hidden, 3 * hidden),
      head: dense(k3, hidden, classes),
    };
  },
  batches: (key) => classBatches(key, GRU.steps, GRU.batch, [GRU.length, GRU.inputs], GRU.classes),
  forward: gruForward,
  loss: (params, { x, y }) => t.crossEntropy(gruForward(params, x), y),
  steps: GRU.steps,
};

const ENSEMBLE = { members: 16, sizes: [64, 64, 10], batch: 64, steps: 20 };

const ensembleForward = (params, x) => t.vmap(mlpForward, { inAxes: [0, null] })(params, x);

const ensemble = {
  init: (key) => {
    const members = t.vmap((k) => mlpParams(ENSEMBLE.sizes)(k))(t.random.split(key, ENSEMBLE.members));
    return members;
  },
  batches: (key) => classBatches(key, ENSEMBLE.steps, ENSEMBLE.batch, [64], 10),
  forward: ensembleForward,
  loss: (params, { x, y }) => t.sum(t.vmap((p) => t.crossEntropy(mlpForward(p, x), y))(params)),
  steps: ENSEMBLE.steps,
};

const penalized = mlp([64, 128, 128, 10], 128, 20);
const gradientPenalty = {
  ...penalized,
  loss: (params, { x, y }) => {
    const [loss, gradient] = t.valueAndGrad((input) => t.crossEntropy(mlpForward(params, input), y))(x);
    return t.add(loss, t.mul(10 * x.shape[0], t.sum(t.mul(gradient, gradient))));
  },
};

export const networks = {
  "mlp-784-256-256-10": mlp([784, 256, 256, 10], 128, 20),
  "mlp-64-128-128-10": mlp([64, 128, 128, 10], 256, 50),
  "mlp-2-32-32-2": mlp([2, 32, 32, 2], 32, 200),
  "digits-cnn": cnn,
  transformer,
  gru,
  "ensemble-16": ensemble,
  "gradient-penalty": gradientPenalty,
};
