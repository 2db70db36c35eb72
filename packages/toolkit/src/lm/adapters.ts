import { add, matmul, mul, random, type Tensor, zeros } from "@prior-art/tensor";
import { type Initializer, normal } from "../nn/initializers.ts";
import { mapPaths } from "../optim/treePaths.ts";

/**
 * A reparametrization of a model's weights: base weights, which stay, and adapter parameters, which are trained, give
 * the weights that the model computes with.
 */
export interface Adapter<P, A> {
  /** The adapter's first parameters. */
  init(key: Tensor, base: P): A;
  /** The weights in effect; with a key, in training mode (adapters that drop or disturb). */
  merge(base: P, adapter: A, key?: Tensor): P;
}

/** Which weights are adapted, by path (such as `blocks[0].attention.projection.weight`) and value. */
export type WeightChoice = (path: string, weight: Tensor) => boolean;

/** All weight matrices of dense layers: not embeddings, biases and norms. */
export const denseWeights: WeightChoice = (path, weight) => path.endsWith(".weight") && weight.rank === 2;

export interface MatrixAdapterOptions<F> {
  /** `denseWeights` by default. */
  readonly targets?: WeightChoice;
  /** First factors of a weight `[inputs, outputs]`. */
  readonly init: (weight: Tensor, key: Tensor, path: string) => F;
  /** The weight in effect. */
  readonly merge: (weight: Tensor, factors: F, key: Tensor | undefined, path: string) => Tensor;
}

/** An adapter that treats chosen weight matrices alike, each with factors of its own, by path. */
export function matrixAdapter<P, F>(
  options: MatrixAdapterOptions<F>,
): Adapter<P, Readonly<Record<string, F>>> {
  const { targets = denseWeights, init, merge } = options;
  return {
    init(key, base) {
      const factors: Record<string, F> = {};
      mapPaths(base, (path, weight) => {
        if (targets(path, weight))
          factors[path] = init(weight, random.fold(key, Object.keys(factors).length), path);
        return weight;
      });
      if (Object.keys(factors).length === 0)
        throw new RangeError("matrixAdapter: none of the weights is a target");
      return factors;
    },
    merge(base, factors, key) {
      let at = 0;
      return mapPaths(base, (path, weight) => {
        const own = factors[path];
        return own === undefined ? weight : merge(weight, own, key && random.fold(key, at++), path);
      });
    },
  };
}

/** Factors of a weight's change, `scale · a · b`. */
export interface LoraFactors {
  /** `[inputs, rank]` */
  readonly a: Tensor;
  /** `[rank, outputs]` */
  readonly b: Tensor;
}

export interface LoraOptions {
  readonly rank: number;
  /** α: the change is `(α / rank) a b`; `rank` by default, which makes the scale 1. */
  readonly alpha?: number;
  /** `"rank"` divides α by the rank (Hu et al., 2022), `"root"` by its root (rsLoRA; Kalajdzievski, 2023). */
  readonly scaling?: "rank" | "root";
  readonly targets?: WeightChoice;
  /** Of `a`; variance `1 / inputs` by default. */
  readonly weights?: Initializer;
}

/** α over the rank or its root. */
export const loraScale = ({ rank, alpha = rank, scaling = "rank" }: LoraOptions): number =>
  alpha / (scaling === "root" ? Math.sqrt(rank) : rank);

/**
 * Low-rank adaptation (Hu et al., 2022): each chosen weight gets `W + scale · a b` with `a` random and `b` 0 at first.
 * @throws RangeError unless the rank is a whole number of at least 1.
 */
export function lora<P>(options: LoraOptions): Adapter<P, Readonly<Record<string, LoraFactors>>> {
  const { rank, weights, targets } = options;
  if (!(Number.isInteger(rank) && rank >= 1))
    throw new RangeError(`lora: the rank is a whole number of at least 1, got ${rank}`);
  const scale = loraScale(options);
  return matrixAdapter({
    ...(targets ? { targets } : {}),
    init: (weight, key) => {
      const [inputs, outputs] = weight.shape as [number, number];
      const dtype = weight.dtype === "float64" ? "float64" : "float32";
      return {
        a: (weights ?? normal(1 / Math.sqrt(inputs)))(key, [inputs, rank], dtype),
        b: zeros([rank, outputs], dtype),
      };
    },
    merge: (weight, { a, b }) => add(weight, mul(matmul(a, b), scale)),
  });
}

/** Training all weights, as an adapter: its parameters are the weights themselves. */
export const fullFineTuning = <P>(): Adapter<P, P> => ({
  init: (_, base) => base,
  merge: (_, adapter) => adapter,
});
