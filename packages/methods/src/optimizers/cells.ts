import { broadcastTo, concat, jit, random, type Tensor, tensor, treeMap, vmap } from "@prior-art/tensor";
import { digits, labelNoise, selectEntries, selectRows, stratifiedSplit } from "@prior-art/toolkit/data";
import { type AnyOptimizer, shuffledBatches, trainSteps } from "@prior-art/toolkit/optim";

export interface LabelledPart {
  /** Grey levels 0–1, `[examples, 64]`. */
  readonly x: Tensor;
  /** int32 `[examples]` */
  readonly labels: Tensor;
}

export interface DigitParts {
  readonly train: LabelledPart;
  readonly validation: LabelledPart;
  readonly test: LabelledPart;
}

export interface DigitPartsOptions {
  readonly train: number;
  readonly validation: number;
  readonly test: number;
  /** Share of the training labels that is wrong, 0 by default; the other parts' labels are right. */
  readonly noise?: number;
  readonly seed: number;
}

/** 8×8 digits, split so that every part has all classes alike. */
export async function digitParts({ noise = 0, seed, ...sizes }: DigitPartsOptions): Promise<DigitParts> {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { ...sizes, seed });
  const part = (indices: Int32Array, classes = selectEntries(labels, indices)): LabelledPart => ({
    x: tensor(
      selectRows(features, shape, indices).map((v) => v / 16),
      { shape: [indices.length, 64] },
    ),
    labels: tensor(classes),
  });
  const right = selectEntries(labels, split.train);
  const given = noise > 0 ? labelNoise(right, { rate: noise, classes: 10, seed }).labels : right;
  return {
    train: part(split.train, given),
    validation: part(split.validation),
    test: part(split.test),
  };
}

/** Hyperparameters of one cell of a sweep, and the same as scalar tensors inside the graph. */
export type CellValues = Readonly<Record<string, number>>;
export type CellTensors<H> = { readonly [K in keyof H]: Tensor };

export interface CellTraining<P, D, H extends CellValues, M> {
  readonly loss: (params: P, batch: D) => Tensor;
  // biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
  readonly optimizer: (cell: CellTensors<H>) => AnyOptimizer<P, any>;
  readonly cells: readonly H[];
  /** Where all cells start. */
  readonly params: P;
  /** Tensors `[examples, …]`. */
  readonly data: D;
  readonly examples: number;
  readonly batchSize: number;
  readonly epochs: number;
  /** Epochs between reports; all by default. */
  readonly epochsPerRun?: number;
  readonly key: Tensor;
  /** What to measure of each cell at every report; the state is the optimizer's. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly measure?: (params: P, state: any) => M;
}

export interface CellReport<P, M> {
  /** Epochs that are over. */
  readonly epoch: number;
  /** `[cells, …]` each. */
  readonly params: P;
  /** The loss before each step since the last report, `[cells, steps]`. */
  readonly losses: Tensor;
  readonly measured: M | undefined;
}

/**
 * Trains all cells side by side with `vmap`, from one initialization on one order of batches, so that a sweep is one
 * compiled loop. Batches that would not be full are left out.
 */
export async function* trainCells<P, D, H extends CellValues, M = undefined>(
  options: CellTraining<P, D, H, M>,
): AsyncGenerator<CellReport<P, M>, void> {
  const { loss, optimizer, cells, examples, batchSize, epochs, key, measure } = options;
  const epochsPerRun = options.epochsPerRun ?? epochs;
  const names = Object.keys(cells[0]!) as (keyof H)[];
  const values = Object.fromEntries(
    names.map((name) => [name, tensor(Float32Array.from(cells, (cell) => cell[name]!))]),
  ) as CellTensors<H>;
  const run = jit(
    vmap(
      (cell: CellTensors<H>, params: P, state: unknown, data: D, indices: Tensor, keys: Tensor) => {
        const [trained, last, losses] = trainSteps({ loss, optimizer: optimizer(cell) })(
          params,
          state,
          data,
          indices,
          keys,
        );
        return { params: trained, state: last, losses, measured: measure?.(trained, last) };
      },
      { inAxes: [0, 0, 0, null, null, null] },
    ),
  );
  let params = treeMap((t) => broadcastTo(t, [cells.length, ...t.shape]), options.params);
  let state: unknown = vmap((cell: CellTensors<H>) => optimizer(cell).init(options.params))(values);
  try {
    for (let from = 0; from < epochs; from += epochsPerRun) {
      const epoch = Math.min(from + epochsPerRun, epochs);
      const orders = Array.from({ length: epoch - from }, (_, i) =>
        shuffledBatches(random.fold(key, from + i), examples, batchSize),
      );
      const indices = concat(orders);
      const stepKeys = random.split(random.fold(key, epochs + from), indices.shape[0]!);
      const done = await run(values, params, state, options.data, indices, stepKeys);
      [params, state] = [done.params, done.state];
      yield { epoch, params, losses: done.losses, measured: done.measured as M | undefined };
    }
  } finally {
    await run.release();
  }
}
