import { randomStream } from "../stats/index.ts";
import { randomBehaviour } from "./agent.ts";
import type { TracedEnvironment } from "./environment.ts";
import { pendulum } from "./pendulum.ts";
import { pointMass } from "./pointMass.ts";
import { type Behaviour, playEpisodes } from "./rollout.ts";
import type { TransitionDataset } from "./transitions.ts";

/** A scripted controller: state in, action in [−1, 1] out. */
type Controller = (state: Float64Array) => Float64Array;

const clamp = (value: number): number => Math.min(1, Math.max(-1, value));

/** Pumps energy until the rod is nearly upright, then holds it with a proportional-derivative law. */
const swingUp =
  (strength: number): Controller =>
  ([angle, speed]) => {
    const wrapped = Math.atan2(Math.sin(angle!), Math.cos(angle!));
    const near = Math.abs(wrapped) < 0.5 && Math.abs(speed!) < 3;
    // Half the squared speed plus 15 cos(angle) is conserved without torque; upright at rest it is 15.
    const missing = 15 - (speed! ** 2 / 2 + 15 * Math.cos(angle!));
    const push = missing > 0 ? Math.sign(speed!) || 1 : -Math.sign(speed!);
    const torque = near ? -(6 * wrapped + 1.5 * speed!) : Math.min(1, Math.abs(missing)) * push;
    return Float64Array.of(strength * clamp(torque));
  };

/** Brings the mass to the middle with a proportional-derivative law. */
const goHome =
  (strength: number): Controller =>
  ([x, y, vx, vy]) =>
    Float64Array.of(strength * clamp(-4 * x! - 2.5 * vx!), strength * clamp(-4 * y! - 2.5 * vy!));

interface OfflineTask {
  readonly environment: TracedEnvironment;
  readonly expert: Controller;
  /** Earns about half of what the expert does above random. */
  readonly medium: Controller;
}

const TASKS = {
  pendulum: { environment: pendulum(), expert: swingUp(1), medium: swingUp(0.3) },
  "point-mass": { environment: pointMass(), expert: goHome(1), medium: goHome(0.06) },
} satisfies Record<string, OfflineTask>;

export type OfflineTaskName = keyof typeof TASKS;

/**
 * Where a data set's episodes come from: uniformly random actions, a mediocre or a good scripted controller with noise,
 * or four mediocre episodes for each good one.
 */
export type DataQuality = "random" | "medium" | "expert" | "mixed";

export const offlineEnvironment = (task: OfflineTaskName): TracedEnvironment => TASKS[task].environment;

/** Deviation of the noise on the controllers' actions. */
export const DATA_NOISE = 0.05;

const noisy =
  (controller: Controller): Behaviour =>
  (_, random, state) =>
    controller(state).map((v) => clamp(v + DATA_NOISE * random.normal()));

function behaviourOf({ environment, expert, medium }: OfflineTask, quality: Exclude<DataQuality, "mixed">) {
  if (quality === "random") return randomBehaviour(environment);
  return noisy(quality === "expert" ? expert : medium);
}

export interface OfflineDataOptions {
  readonly task: OfflineTaskName;
  readonly quality: DataQuality;
  /** 100 by default. */
  readonly episodes?: number;
  readonly seed: number;
}

/** A data set of transitions, with the undiscounted returns of its episodes. */
export interface OfflineData {
  readonly transitions: TransitionDataset;
  readonly returns: Float64Array;
}

/** Collects a data set of graded quality: the same seed, the same data. */
export function offlineData({ task, quality, episodes = 100, seed }: OfflineDataOptions): OfflineData {
  const spec = TASKS[task];
  const random = randomStream(seed, `offline data ${task} ${quality}`);
  if (quality !== "mixed")
    return playEpisodes(spec.environment, behaviourOf(spec, quality), episodes, random);
  const good = Math.max(1, Math.round(episodes / 5));
  const parts = [
    playEpisodes(spec.environment, behaviourOf(spec, "medium"), episodes - good, random),
    playEpisodes(spec.environment, behaviourOf(spec, "expert"), good, random),
  ];
  return {
    transitions: join(parts.map((p) => p.transitions)),
    returns: concatenate(parts.map((p) => p.returns)),
  };
}

function join(parts: readonly TransitionDataset[]): TransitionDataset {
  const merge = (pick: (part: TransitionDataset) => Float32Array): Float32Array => {
    const all = parts.map(pick);
    const merged = new Float32Array(all.reduce((sum, values) => sum + values.length, 0));
    let at = 0;
    for (const values of all) {
      merged.set(values, at);
      at += values.length;
    }
    return merged;
  };
  return {
    ...parts[0]!,
    count: parts.reduce((sum, { count }) => sum + count, 0),
    observations: merge((part) => part.observations),
    actions: merge((part) => part.actions),
    rewards: merge((part) => part.rewards),
    nextObservations: merge((part) => part.nextObservations),
    terminals: merge((part) => part.terminals),
  };
}

/**
 * The actions that a data set's controllers take in a state, before noise and clipping: where its support lies. None for
 * random actions.
 */
export function dataControls(
  task: OfflineTaskName,
  quality: DataQuality,
  state: Float64Array,
): readonly Float64Array[] {
  const { expert, medium } = TASKS[task];
  if (quality === "random") return [];
  if (quality === "mixed") return [medium(state), expert(state)];
  return [quality === "expert" ? expert(state) : medium(state)];
}

const concatenate = (parts: readonly Float64Array[]): Float64Array =>
  Float64Array.from(parts.flatMap((part) => [...part]));

/** Mean returns of random actions and of the expert without noise, over 200 episodes of a fixed seed. */
export interface ReferenceReturns {
  readonly random: number;
  readonly expert: number;
}

const references = new Map<OfflineTaskName, ReferenceReturns>();

export function referenceReturns(task: OfflineTaskName): ReferenceReturns {
  const known = references.get(task);
  if (known) return known;
  const { environment, expert } = TASKS[task];
  const meanOf = (behaviour: Behaviour): number => {
    const { returns } = playEpisodes(environment, behaviour, 200, randomStream(0, `reference ${task}`));
    return returns.reduce((sum, value) => sum + value, 0) / returns.length;
  };
  const measured = {
    random: meanOf(randomBehaviour(environment)),
    expert: meanOf((_, __, state) => expert(state)),
  };
  references.set(task, measured);
  return measured;
}

/** 0 for random actions, 100 for the expert: `100 (return − random) / (expert − random)` (Fu et al., 2020). */
export function normalizedScore(task: OfflineTaskName, meanReturn: number): number {
  const { random, expert } = referenceReturns(task);
  return (100 * (meanReturn - random)) / (expert - random);
}
