import { expect, test } from "vitest";
import {
  conv2d,
  crossEntropy,
  jit,
  matmul,
  maxPool2d,
  mul,
  oneHot,
  random,
  relu,
  reshape,
  scan,
  sub,
  type Tensor,
  treeLeaves,
  treeMap,
  valueAndGrad,
} from "./index.ts";

const adapter = await navigator.gpu?.requestAdapter();

test.skipIf(!adapter)(
  "training steps on WebGPU give the numbers of the CPU",
  { timeout: 120_000 },
  async () => {
    const key = random.key(3);
    const x = random.normal(random.fold(key, 0), [8, 1, 8, 8]);
    const y = oneHot(random.randint(random.fold(key, 1), [8], 0, 3), 3);
    const start = {
      filters: mul(0.3, random.normal(random.fold(key, 2), [4, 1, 3, 3])),
      weight: mul(0.1, random.normal(random.fold(key, 3), [64, 3])),
    };
    const loss = ({ filters, weight }: typeof start): Tensor => {
      const features = maxPool2d(relu(conv2d(x, filters, { padding: "same" })), 2);
      return crossEntropy(matmul(reshape(features, [8, 64]), weight), y);
    };
    const train = (params: typeof start) =>
      scan(
        (p) => {
          const [value, gradient] = valueAndGrad(loss)(p);
          return [treeMap((w, g) => sub(w, mul(0.1, g)), p, gradient), value];
        },
        params,
        null,
        { length: 3 },
      );
    const [cpu, gpu] = [await jit(train)(start), await jit(train, { providers: ["webgpu", "wasm"] })(start)];
    for (const [i, t] of treeLeaves(cpu).entries()) {
      const [a, b] = [await t.data(), await treeLeaves(gpu)[i]!.data()];
      expect([...b]).toEqual([...a].map((v) => expect.closeTo(v, 4)));
    }
  },
);
