import { add, clip, cos, floor, mul, neg, sin, slice, square, stack, sub } from "@prior-art/tensor";
import { coordinates, never, type TracedEnvironment } from "./environment.ts";

const TORQUE = 2;
const SPEED = 8;
/** Seconds a step, by the semi-implicit Euler method. */
const STEP = 0.05;
/** 3g/(2l) and 3/(ml²) of a rod with g = 10, l = m = 1. */
const [GRAVITY, INERTIA] = [15, 3];

const clamp = (value: number, limit: number): number => Math.min(limit, Math.max(-limit, value));
/** An angle in [−π, π). */
const wrap = (angle: number): number => angle - 2 * Math.PI * Math.floor((angle + Math.PI) / (2 * Math.PI));

/**
 * Gymnasium's Pendulum-v1: swing a rod up and hold it there with a torque of at most 2 (the action −1 … 1 times 2).
 * Rewards `−(angle² + 0.1 speed² + 0.001 torque²)`; never terminal. State: angle (0 upright) and angular velocity;
 * observation: cosine, sine, angular velocity.
 */
export function pendulum({ horizon = 200 }: { readonly horizon?: number } = {}): TracedEnvironment {
  return {
    name: "pendulum",
    stateSize: 2,
    observationSize: 3,
    actions: { kind: "box", size: 1 },
    horizon,
    start: (random) => Float64Array.of(Math.PI * (2 * random.uniform() - 1), 2 * random.uniform() - 1),
    step(state, action) {
      const [angle, speed] = state as unknown as [number, number];
      const torque = TORQUE * clamp(coordinates("pendulum", action, 1)[0]!, 1);
      const reward = -(wrap(angle) ** 2 + 0.1 * speed ** 2 + 0.001 * torque ** 2);
      const faster = clamp(speed + STEP * (GRAVITY * Math.sin(angle) + INERTIA * torque), SPEED);
      return { state: Float64Array.of(angle + STEP * faster, faster), reward, terminal: false };
    },
    observe: (state) => Float64Array.of(Math.cos(state[0]!), Math.sin(state[0]!), state[1]!),
    traced: {
      step(state, action) {
        const [angle, speed] = [slice(state, null, 0), slice(state, null, 1)];
        const torque = mul(TORQUE, clip(slice(action, null, 0), -1, 1));
        const turns = floor(mul(add(angle, Math.PI), 1 / (2 * Math.PI)));
        const wrapped = sub(angle, mul(2 * Math.PI, turns));
        const cost = add(square(wrapped), add(mul(0.1, square(speed)), mul(0.001, square(torque))));
        const pull = add(mul(GRAVITY, sin(angle)), mul(INERTIA, torque));
        const faster = clip(add(speed, mul(STEP, pull)), -SPEED, SPEED);
        return {
          state: stack([add(angle, mul(STEP, faster)), faster], -1),
          reward: neg(cost),
          terminal: never(angle),
        };
      },
      observe(state) {
        const [angle, speed] = [slice(state, null, 0), slice(state, null, 1)];
        return stack([cos(angle), sin(angle), speed], -1);
      },
    },
  };
}
