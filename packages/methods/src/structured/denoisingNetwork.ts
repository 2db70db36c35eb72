import { add, data, mean, random, relu, reshape, square, sub, type Tensor, tensor } from "@prior-art/tensor";
import { conv2d } from "@prior-art/toolkit/nn";
import { adam, fit } from "@prior-art/toolkit/optim";
import type { Image, Reconstructor } from "./family.ts";
import { filteredBackProjection, type Geometry, measure, phantom, radonTransform } from "./tomography.ts";

type Layers = readonly ReturnType<typeof conv2d.init>[];

export interface NetworkOptions {
  readonly geometry: Geometry;
  /** Relative noise of the data that the network is trained on. */
  readonly noise: number;
  /** Phantoms to train on. Default 200. */
  readonly phantoms?: number;
  /** Default 60. */
  readonly epochs?: number;
}

/** Training phantoms and noise have seeds of their own, far from those that experiments use. */
const FIRST_SEED = 500_000_000;

/** `x + f(x)` with three 3×3 convolutions: `[batch, 1, size, size]` to the same. */
function denoise(layers: Layers, x: Tensor): Tensor {
  const last = layers.length - 1;
  const change = layers.reduce((h, layer, i) => {
    const z = conv2d.apply(layer, h, { padding: 1 });
    return i < last ? relu(z) : z;
  }, x);
  return add(x, change);
}

/** A convolutional network that improves filtered back-projections, trained on random phantoms at one level of noise. */
export async function trainNetwork({
  geometry,
  noise,
  phantoms = 200,
  epochs = 60,
}: NetworkOptions): Promise<Reconstructor> {
  const { size, rays } = geometry;
  const forward = radonTransform(geometry);
  const inputs = new Float32Array(phantoms * size * size);
  const targets = new Float32Array(phantoms * size * size);
  for (let k = 0; k < phantoms; k++) {
    const truth = phantom(size, FIRST_SEED + k);
    const rough = filteredBackProjection(measure(truth, forward, noise, FIRST_SEED + k), rays);
    inputs.set(rough.values, k * size * size);
    targets.set(truth.values, k * size * size);
  }
  const shape = [phantoms, 1, size, size];
  const channels = [1, 16, 16, 1];
  const keys = random.keys(random.key(FIRST_SEED));
  const params: Layers = channels
    .slice(1)
    .map((filters, i) =>
      conv2d.init(random.fold(keys[0]!, i), { channels: channels[i]!, filters, kernel: 3 }),
    );
  let trained = params;
  const training = fit({
    params,
    data: { x: tensor(inputs, { shape }), y: tensor(targets, { shape }) },
    loss: (layers: Layers, batch: { readonly x: Tensor; readonly y: Tensor }) =>
      mean(square(sub(denoise(layers, batch.x), batch.y))),
    optimizer: adam<Layers>({ learningRate: 3e-3 }),
    batchSize: 20,
    epochs,
    epochsPerRun: epochs,
    key: keys[1]!,
  });
  for await (const progress of training) trained = progress.params;
  return async (problem): Promise<Image> => {
    const rough = filteredBackProjection(problem, rays);
    const x = tensor(Float32Array.from(rough.values), { shape: [1, 1, size, size] });
    const values = await data(reshape(denoise(trained, x), [size * size]));
    return { size, values: Float64Array.from(values as Float32Array) };
  };
}
