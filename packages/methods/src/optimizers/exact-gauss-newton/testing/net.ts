import { matmul, type Tensor, tanh, tensor } from "@prior-art/tensor";
import type { Objective, OutputLoss } from "@prior-art/toolkit/optim";
import { gaussian } from "../../testing/doubles.ts";
import { outputLoss } from "../outputLoss.ts";

/** A small network of two layers with three outputs, in double precision. */
export type Net = { readonly first: Tensor; readonly second: Tensor };
export const net: Net = { first: gaussian(1, [4, 5]), second: gaussian(2, [5, 3]) };
export const x = gaussian(3, [6, 4]);
export const predict = ({ first, second }: Net): Tensor => matmul(tanh(matmul(x, first)), second);
export const classes = tensor(Int32Array.of(0, 2, 1, 1, 0, 2));
export const regression = gaussian(4, [6, 3]);

export type Kind = OutputLoss<Net>["kind"];
export const kinds: Kind[] = ["squaredError", "crossEntropy"];
export const objectiveOf = (kind: Kind): Objective<Net> => {
  const targets = kind === "crossEntropy" ? classes : regression;
  return {
    outputs: { predict, targets, kind },
    loss: (p) => outputLoss(kind, predict(p), targets),
  };
};
