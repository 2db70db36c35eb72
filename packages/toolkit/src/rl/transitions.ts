import { type Tensor, tensor } from "@prior-art/tensor";
import type { RandomStream } from "../stats/index.ts";
import type { Action, Environment } from "./environment.ts";

/** Transitions as rows; actions are `[count, size]`, or numbers `[count, 1]` where they are discrete. */
export interface TransitionDataset {
  readonly count: number;
  readonly observationSize: number;
  readonly actionSize: number;
  readonly observations: Float32Array;
  readonly actions: Float32Array;
  /** `[count]` */
  readonly rewards: Float32Array;
  readonly nextObservations: Float32Array;
  /** 1 where the step ended the episode for good, `[count]`. */
  readonly terminals: Float32Array;
}

/** Transitions as tensors, `[batch, …]`. */
export interface TransitionBatch {
  readonly observations: Tensor;
  readonly actions: Tensor;
  readonly rewards: Tensor;
  readonly nextObservations: Tensor;
  readonly terminals: Tensor;
}

/** A data set as tensors, for training on a device. */
export function transitionTensors(dataset: TransitionDataset): TransitionBatch {
  const { count, observationSize, actionSize } = dataset;
  return {
    observations: tensor(dataset.observations, { shape: [count, observationSize] }),
    actions: tensor(dataset.actions, { shape: [count, actionSize] }),
    rewards: tensor(dataset.rewards),
    nextObservations: tensor(dataset.nextObservations, { shape: [count, observationSize] }),
    terminals: tensor(dataset.terminals),
  };
}

export interface Transition {
  readonly observation: ArrayLike<number>;
  readonly action: Action;
  readonly reward: number;
  readonly nextObservation: ArrayLike<number>;
  readonly terminal: boolean;
}

/** The last `capacity` transitions. */
export class ReplayBuffer {
  /** Transitions in it. */
  count = 0;
  private next = 0;
  private readonly all: TransitionDataset;

  /** @throws RangeError unless the capacity is a whole number of at least 1. */
  constructor(
    { observationSize, actions }: Pick<Environment, "observationSize" | "actions">,
    readonly capacity: number,
  ) {
    if (!(Number.isInteger(capacity) && capacity >= 1))
      throw new RangeError(
        `ReplayBuffer: the capacity must be a whole number of at least 1, got ${capacity}`,
      );
    const actionSize = actions.kind === "box" ? actions.size : 1;
    this.all = {
      count: capacity,
      observationSize,
      actionSize,
      observations: new Float32Array(capacity * observationSize),
      actions: new Float32Array(capacity * actionSize),
      rewards: new Float32Array(capacity),
      nextObservations: new Float32Array(capacity * observationSize),
      terminals: new Float32Array(capacity),
    };
  }

  add({ observation, action, reward, nextObservation, terminal }: Transition): void {
    const { all, next } = this;
    all.observations.set(observation, next * all.observationSize);
    all.nextObservations.set(nextObservation, next * all.observationSize);
    if (typeof action === "number") all.actions[next * all.actionSize] = action;
    else all.actions.set(action, next * all.actionSize);
    all.rewards[next] = reward;
    all.terminals[next] = terminal ? 1 : 0;
    this.next = (next + 1) % this.capacity;
    this.count = Math.min(this.count + 1, this.capacity);
  }

  /** `size` transitions drawn with replacement. @throws RangeError when the buffer is empty. */
  sample(size: number, random: RandomStream): TransitionBatch {
    if (this.count === 0) throw new RangeError("ReplayBuffer: nothing to sample from");
    const rows = Int32Array.from({ length: size }, () => random.integer(this.count));
    return transitionTensors(selectTransitions(this.all, rows));
  }

  /** Everything in it, oldest first. */
  dataset(): TransitionDataset {
    const first = this.count < this.capacity ? 0 : this.next;
    const rows = Int32Array.from({ length: this.count }, (_, i) => (first + i) % this.capacity);
    return selectTransitions(this.all, rows);
  }
}

/** Some rows of a data set. */
export function selectTransitions(dataset: TransitionDataset, rows: Int32Array): TransitionDataset {
  const pick = (values: Float32Array, width: number): Float32Array => {
    const picked = new Float32Array(rows.length * width);
    rows.forEach((row, i) => {
      picked.set(values.subarray(row * width, (row + 1) * width), i * width);
    });
    return picked;
  };
  const { observationSize, actionSize } = dataset;
  return {
    count: rows.length,
    observationSize,
    actionSize,
    observations: pick(dataset.observations, observationSize),
    actions: pick(dataset.actions, actionSize),
    rewards: pick(dataset.rewards, 1),
    nextObservations: pick(dataset.nextObservations, observationSize),
    terminals: pick(dataset.terminals, 1),
  };
}
