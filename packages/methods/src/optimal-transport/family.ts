import type { Matrix } from "@prior-art/toolkit/linalg";
import type { TransportPlan, TransportProblem } from "@prior-art/toolkit/transport";

export type { TransportPlan, TransportProblem, TransportSolver } from "@prior-art/toolkit/transport";

/** The family's other interface: a map learned from samples of two measures, `[points, dimensions]` each. */
export type TransportMap = (points: Matrix) => Matrix;

/** Hyperparameters of a contender that the task tunes. */
export type Hyperparameters = Readonly<Record<string, number>>;

interface Entry {
  readonly label: string;
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
}

/** A contender that finds a plan; costs are squared distances divided by their largest, masses add up to 1. */
export interface PlanContender extends Entry {
  readonly solve: (problem: TransportProblem, hyperparameters: Hyperparameters) => TransportPlan;
}

/** A contender that learns a map from the samples themselves. */
export interface MapContender extends Entry {
  readonly learnMap: (
    source: Matrix,
    target: Matrix,
    hyperparameters: Hyperparameters,
    seed: number,
  ) => TransportMap | Promise<TransportMap>;
}

/** What a room provides to enter the family's shared task, transport between two Gaussians known by samples alone. */
export type Contender = PlanContender | MapContender;
