import { moveAxis, scan, type Tensor, TensorError } from "@prior-art/tensor";
import type { FloatDType } from "./initializers.ts";

export interface CellOptions {
  readonly inputs: number;
  readonly width: number;
  readonly dtype?: FloatDType;
}

/** A recurrent network's step, as `gru` and `lstm` export it. */
export interface Cell<P, S> {
  init(key: Tensor, options: CellOptions): P;
  /** The state before the first step, zeros. */
  start(params: P, batch: number): S;
  /** The part of a step that needs no state, `[…, inputs] → […, gates · width]`: for all steps at once. */
  project(params: P, x: Tensor): Tensor;
  /** One step from projected inputs `[batch, gates · width]`. */
  step(params: P, state: S, projected: Tensor): readonly [state: S, output: Tensor];
}

export interface RecurrentOptions<S> {
  /** The state before the first step; the cell's `start` by default. */
  readonly state?: S;
  /** From the last step to the first; outputs stay in the order of the inputs. */
  readonly reverse?: boolean;
}

/**
 * A cell over a sequence: `[batch, time, inputs] → [batch, time, width]`, with the last state.
 * @throws TensorError unless `xs` has three axes.
 * @example
 * const params = gru.init(random.key(0), { inputs: 8, width: 32 });
 * const { outputs, state } = recurrent(gru, params, xs);
 */
export function recurrent<P, S>(
  cell: Cell<P, S>,
  params: P,
  xs: Tensor,
  { state, reverse = false }: RecurrentOptions<S> = {},
): { readonly outputs: Tensor; readonly state: S } {
  if (xs.rank !== 3) throw new TensorError("recurrent", `takes [batch, time, inputs], got ${xs.toString()}`);
  const [last, outputs] = scan(
    (before: S, projected: Tensor) => cell.step(params, before, projected),
    state ?? cell.start(params, xs.shape[0]!),
    moveAxis(cell.project(params, xs), 1, 0),
    { reverse },
  );
  return { outputs: moveAxis(outputs, 0, 1), state: last };
}
