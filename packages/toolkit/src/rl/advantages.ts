export interface AdvantageOptions {
  /** r_0 … r_{T−1}. */
  readonly rewards: ArrayLike<number>;
  /** V(s_0) … V(s_T), one more than rewards; the last one stands for what comes after. */
  readonly values: ArrayLike<number>;
  /** Whether step t ended the episode for good, so that V(s_{t+1}) counts nothing and nothing is carried over. */
  readonly terminals: ArrayLike<boolean | number>;
  /** γ, 0.99 by default. */
  readonly discount?: number;
  /** λ, 0.95 by default; 0 is the one-step advantage, 1 the Monte Carlo return minus the value. */
  readonly lambda?: number;
}

/** A_t and the returns A_t + V(s_t) that values are fitted to, `[T]` each. */
export interface Advantages {
  readonly advantages: Float64Array;
  readonly returns: Float64Array;
}

/**
 * Generalized advantages `Σ_l (γλ)^l δ_{t+l}`, `δ_t = r_t + γ V(s_{t+1}) − V(s_t)` (Schulman et al., 2016, eq. 16).
 * @throws RangeError unless there is one value more than rewards, and as many terminal flags as rewards.
 */
export function generalizedAdvantages(options: AdvantageOptions): Advantages {
  const { rewards, values, terminals, discount = 0.99, lambda = 0.95 } = options;
  const steps = rewards.length;
  if (values.length !== steps + 1 || terminals.length !== steps)
    throw new RangeError(
      `generalizedAdvantages: ${steps} rewards need ${steps + 1} values and ${steps} flags, got ${values.length} and ${terminals.length}`,
    );
  const advantages = new Float64Array(steps);
  let carried = 0;
  for (let t = steps - 1; t >= 0; t--) {
    const goesOn = terminals[t] ? 0 : 1;
    const error = rewards[t]! + discount * goesOn * values[t + 1]! - values[t]!;
    carried = error + discount * lambda * goesOn * carried;
    advantages[t] = carried;
  }
  return { advantages, returns: advantages.map((a, t) => a + values[t]!) };
}

/** `Σ_l γ^l r_{t+l}` up to the end of the episode, `[T]`. */
export function discountedReturns(rewards: ArrayLike<number>, discount: number): Float64Array {
  const returns = new Float64Array(rewards.length);
  for (let t = rewards.length - 1; t >= 0; t--) returns[t] = rewards[t]! + discount * (returns[t + 1] ?? 0);
  return returns;
}
