import type * as PlotModule from "@observablehq/plot";
import type { Mode } from "./claim.ts";

/** One plot of a figure; a figure with several panels shows them side by side. */
export interface Panel {
  readonly title?: string;
  readonly options: PlotModule.PlotOptions;
}

/** Everything a figure may draw from. Diverged units are not in `seeds`; they are listed in `diverged`. */
export interface FigureData<Arm extends string, M> {
  /** Observable Plot, handed in so that rooms need not import a renderer. */
  readonly Plot: typeof PlotModule;
  readonly mode: Mode;
  readonly arms: readonly { readonly name: Arm; readonly label: string }[];
  /** Finished test units in seed order. */
  readonly units: readonly { readonly arm: Arm; readonly seed: number; readonly metrics: M }[];
  readonly diverged: readonly { readonly arm: Arm; readonly seed: number }[];
  /** Every tuning candidate with its mean score (`null` when it diverged). */
  readonly tuning: readonly {
    readonly arm: Arm;
    readonly hyperparameters: Readonly<Record<string, HyperparameterValue>>;
    readonly score: number | null;
    readonly chosen: boolean;
  }[];
}

export type HyperparameterValue = number | string | boolean;

export type Figure<Arm extends string, M> = (data: FigureData<Arm, M>) => Panel | readonly Panel[];
