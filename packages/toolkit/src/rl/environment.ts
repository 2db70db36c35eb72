import { greater, mul, type Tensor } from "@prior-art/tensor";
import type { RandomStream } from "../stats/index.ts";

/** A choice among `count`, or `size` numbers in [−1, 1]. */
export type ActionSpace =
  | { readonly kind: "discrete"; readonly count: number }
  | { readonly kind: "box"; readonly size: number };

/** An action: its number, or its coordinates in [−1, 1] (which the environment clips and scales). */
export type Action = number | ArrayLike<number>;

export interface StepResult {
  readonly state: Float64Array;
  readonly reward: number;
  /** Whether nothing can be earned any more; running out of time is not that. */
  readonly terminal: boolean;
}

/** A task as pure functions of its state: stepping makes a new state and leaves the old one as it was. */
export interface Environment {
  readonly name: string;
  readonly stateSize: number;
  readonly observationSize: number;
  readonly actions: ActionSpace;
  /** Steps after which an episode is cut off. */
  readonly horizon: number;
  /** A random first state. */
  start(random: RandomStream): Float64Array;
  /** `random` is for environments with chance in them. */
  step(state: Float64Array, action: Action, random: RandomStream): StepResult;
  observe(state: Float64Array): Float64Array;
}

/** The same dynamics for many episodes at once in a traced graph, without chance. */
export interface TracedDynamics {
  /**
   * @param state `[batch, stateSize]`
   * @param action `[batch, size]`, or int32 `[batch]` where actions are discrete
   * @returns the next state, rewards `[batch]` and terminal flags, bool `[batch]`
   */
  step(
    state: Tensor,
    action: Tensor,
  ): { readonly state: Tensor; readonly reward: Tensor; readonly terminal: Tensor };
  /** `[batch, stateSize] → [batch, observationSize]` */
  observe(state: Tensor): Tensor;
}

/** An environment that also runs inside traced graphs. */
export interface TracedEnvironment extends Environment {
  readonly traced: TracedDynamics;
}

/** A box action's coordinates. @throws TypeError when the environment's actions are discrete numbers or sizes differ. */
export function coordinates(caller: string, action: Action, size: number): ArrayLike<number> {
  if (typeof action === "number" || action.length !== size)
    throw new TypeError(`${caller}: an action is ${size} numbers in [-1, 1], got ${String(action)}`);
  return action;
}

/** A discrete action's number. @throws TypeError unless it is one of `count`. */
export function choice(caller: string, action: Action, count: number): number {
  if (typeof action !== "number" || !Number.isInteger(action) || action < 0 || action >= count)
    throw new TypeError(
      `${caller}: an action is a whole number from 0 to ${count - 1}, got ${String(action)}`,
    );
  return action;
}

/** Terminal flags of an environment that never ends: false for each episode of `like`. */
export const never = (like: Tensor): Tensor => greater(mul(like, 0), 1);
