import { abs, add, div, mean, mul, neg, square, stopGradient, sub, type Tensor } from "@prior-art/tensor";
import type { OfflineAgent } from "./agent.ts";
import { type ActorContext, type Td3Options, type Td3State, td3 } from "./td3.ts";

/** `−mean Q / mean |Q|`: the actor's objective in units that don't depend on the rewards' (Fujimoto & Gu, 2021). */
export const normalizedValueLoss = (values: Tensor): Tensor =>
  neg(div(mean(values), stopGradient(add(mean(abs(values)), 1e-8))));

export interface Td3BcOptions extends Td3Options {
  /** α: weight of the values against the cloning term, 2.5 by default. */
  readonly alpha?: number;
}

/**
 * TD3+BC (Fujimoto & Gu, 2021): the actor maximizes `α Q / mean |Q|` minus its squared distance from the data's actions;
 * observations are normalized.
 */
export function td3bc({ alpha = 2.5, ...options }: Td3BcOptions): OfflineAgent<Td3State<null>> {
  return td3({
    normalize: true,
    actorLoss: ({ values, actions, batch }: ActorContext<null>) =>
      add(mul(alpha, normalizedValueLoss(values)), mean(square(sub(actions, batch.actions)))),
    ...options,
  });
}
