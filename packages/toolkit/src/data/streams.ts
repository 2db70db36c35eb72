import { randomStream } from "../stats/random.ts";
import type { ClassificationDataset } from "./datasets.ts";
import { permuteColumns, rotateImages } from "./images.ts";
import { stratifiedSplit } from "./splits.ts";
import { selectEntries, selectRows } from "./transforms.ts";

export interface TaskPart {
  /** `[examples, width]` */
  readonly features: Float32Array;
  /** `[examples]` */
  readonly labels: Int32Array;
}

/** One task of a stream. */
export interface StreamTask {
  readonly name: string;
  readonly train: TaskPart;
  readonly test: TaskPart;
  /** Labels that occur in the task. */
  readonly classes: readonly number[];
}

export interface StreamOptions {
  readonly seed: number;
  /** Training and test examples of the data set that are used, in all; shares below 1 as in `stratifiedSplit`. */
  readonly train: number;
  readonly test: number;
  /** What features are divided by, 1 by default. */
  readonly scale?: number;
}

/** The training and test parts of a data set that a stream is made of. */
function parts(data: ClassificationDataset, { seed, train, test, scale = 1 }: StreamOptions) {
  const split = stratifiedSplit(data.labels, { train, test, seed });
  const part = (indices: Int32Array): TaskPart => ({
    features: selectRows(data.features, data.shape, indices).map((v) => v / scale),
    labels: selectEntries(data.labels, indices),
  });
  return { train: part(split.train), test: part(split.test), width: data.shape[1] };
}

const allClasses = (data: ClassificationDataset): number[] => data.classNames.map((_, c) => c);

function requireTasks(op: string, tasks: number): void {
  if (!(Number.isInteger(tasks) && tasks >= 1))
    throw new RangeError(`${op}: tasks must be a whole number of at least 1, got ${tasks}`);
}

/**
 * The classes in disjoint groups, in random order: `classesPerTask` each. Labels stay as they are (class-incremental), or
 * count from 0 within each task with `relabel` (domain-incremental).
 * @throws RangeError unless the groups divide the classes.
 */
export function splitStream(
  data: ClassificationDataset,
  options: StreamOptions & { readonly classesPerTask: number; readonly relabel?: boolean },
): StreamTask[] {
  const { classesPerTask, relabel = false, seed } = options;
  const count = data.classNames.length;
  if (!(classesPerTask >= 1 && count % classesPerTask === 0))
    throw new RangeError(`splitStream: ${classesPerTask} classes a task don't divide ${count}`);
  const { train, test, width } = parts(data, options);
  const order = randomStream(seed, "split-stream").permutation(count);
  return Array.from({ length: count / classesPerTask }, (_, t) => {
    const own = [...order.slice(t * classesPerTask, (t + 1) * classesPerTask)];
    const of = ({ features, labels }: TaskPart): TaskPart => {
      const indices = Int32Array.from(labels.keys()).filter((i) => own.includes(labels[i]!));
      const kept = selectEntries(labels, indices);
      return {
        features: selectRows(features, [labels.length, width], indices),
        labels: relabel ? kept.map((label) => own.indexOf(label)) : kept,
      };
    };
    return {
      name: own.map((c) => data.classNames[c]).join(" "),
      train: of(train),
      test: of(test),
      classes: relabel ? own.map((_, i) => i) : own,
    };
  });
}

/** The same examples with another order of the features in each task; the first task's is the original. */
export function permutedStream(
  data: ClassificationDataset,
  options: StreamOptions & { readonly tasks: number },
): StreamTask[] {
  requireTasks("permutedStream", options.tasks);
  const { train, test, width } = parts(data, options);
  return Array.from({ length: options.tasks }, (_, t) => {
    const order =
      t === 0
        ? Int32Array.from({ length: width }, (_, j) => j)
        : randomStream(options.seed, `permuted-stream ${t}`).permutation(width);
    const of = ({ features, labels }: TaskPart): TaskPart => ({
      features: permuteColumns(features, order),
      labels,
    });
    return { name: `permutation ${t}`, train: of(train), test: of(test), classes: allClasses(data) };
  });
}

/** The same square images, turned by `degrees[t]` in task t. */
export function rotatedStream(
  data: ClassificationDataset,
  options: StreamOptions & { readonly degrees: readonly number[] },
): StreamTask[] {
  requireTasks("rotatedStream", options.degrees.length);
  const { train, test, width } = parts(data, options);
  return options.degrees.map((degrees) => {
    const of = ({ features, labels }: TaskPart): TaskPart => ({
      features: rotateImages(features, width, degrees),
      labels,
    });
    return { name: `${degrees}°`, train: of(train), test: of(test), classes: allClasses(data) };
  });
}

/**
 * The same examples with labels of their own in each task: drawn at random for each example (`"random"`, which can only be
 * memorized; test labels are drawn too), or classes renamed by a random permutation (`"renamed"`).
 */
export function relabelledStream(
  data: ClassificationDataset,
  options: StreamOptions & { readonly tasks: number; readonly kind: "random" | "renamed" },
): StreamTask[] {
  requireTasks("relabelledStream", options.tasks);
  const { train, test } = parts(data, options);
  const count = data.classNames.length;
  return Array.from({ length: options.tasks }, (_, t) => {
    const random = randomStream(options.seed, `relabelled-stream ${t}`);
    const names = random.permutation(count);
    const of = ({ features, labels }: TaskPart): TaskPart => ({
      features,
      labels: labels.map((label) => (options.kind === "random" ? random.integer(count) : names[label]!)),
    });
    return { name: `labels ${t}`, train: of(train), test: of(test), classes: allClasses(data) };
  });
}
