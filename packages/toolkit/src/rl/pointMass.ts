import { add, clip, concat, div, mul, neg, norm, slice, sub } from "@prior-art/tensor";
import { coordinates, never, type TracedEnvironment } from "./environment.ts";

/** Seconds a step; force and drag per unit of mass. */
const [STEP, FORCE, DRAG] = [0.1, 2, 0.5];

const clamp = (value: number): number => Math.min(1, Math.max(-1, value));

/**
 * A mass on a table, `[−1, 1]²`, pushed by a force of two coordinates and slowed by drag, stopped at the edge. Rewards
 * minus the distance from the middle after the step; never terminal. State and observation: position and velocity; it
 * starts anywhere, at rest.
 */
export function pointMass({ horizon = 50 }: { readonly horizon?: number } = {}): TracedEnvironment {
  return {
    name: "point-mass",
    stateSize: 4,
    observationSize: 4,
    actions: { kind: "box", size: 2 },
    horizon,
    start: (random) => Float64Array.of(2 * random.uniform() - 1, 2 * random.uniform() - 1, 0, 0),
    step(state, action) {
      const push = coordinates("pointMass", action, 2);
      const next = new Float64Array(4);
      for (let d = 0; d < 2; d++) {
        const speed = state[2 + d]!;
        const faster = speed + STEP * (FORCE * clamp(push[d]!) - DRAG * speed);
        next[d] = clamp(state[d]! + STEP * faster);
        // What the edge stops has no speed left.
        next[2 + d] = (next[d]! - state[d]!) / STEP;
      }
      return { state: next, reward: -Math.hypot(next[0]!, next[1]!), terminal: false };
    },
    observe: (state) => state.slice(),
    traced: {
      step(state, action) {
        const [position, speed] = [slice(state, null, [0, 2]), slice(state, null, [2, 4])];
        const pull = sub(mul(FORCE, clip(action, -1, 1)), mul(DRAG, speed));
        const next = clip(add(position, mul(STEP, add(speed, mul(STEP, pull)))), -1, 1);
        const reward = neg(norm(next, -1));
        return {
          state: concat([next, div(sub(next, position), STEP)], -1),
          reward,
          terminal: never(reward),
        };
      },
      observe: (state) => state,
    },
  };
}
