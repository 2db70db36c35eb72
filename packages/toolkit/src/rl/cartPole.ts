import {
  abs,
  add,
  cos,
  div,
  equal,
  greater,
  logicalOr,
  mul,
  onesLike,
  sin,
  slice,
  square,
  stack,
  sub,
  type Tensor,
  where,
} from "@prior-art/tensor";
import { choice, type TracedEnvironment } from "./environment.ts";

const GRAVITY = 9.8;
const POLE_MASS = 0.1;
const TOTAL_MASS = 1.1;
const HALF_LENGTH = 0.5;
const FORCE = 10;
/** Seconds a step, by Euler's method. */
const STEP = 0.02;
const EDGE = 2.4;
const TOPPLED = (12 * Math.PI) / 180;

/**
 * Barto, Sutton and Anderson's pole on a cart, with Gymnasium's constants (CartPole-v1): push left (0) or right (1), earn
 * 1 a step until the pole leans by 12° or the cart is 2.4 from the middle. State and observation: position, velocity,
 * angle, angular velocity.
 */
export function cartPole({ horizon = 500 }: { readonly horizon?: number } = {}): TracedEnvironment {
  return {
    name: "cart-pole",
    stateSize: 4,
    observationSize: 4,
    actions: { kind: "discrete", count: 2 },
    horizon,
    start: (random) => Float64Array.from({ length: 4 }, () => 0.1 * random.uniform() - 0.05),
    step(state, action) {
      const [x, v, angle, spin] = state as unknown as [number, number, number, number];
      const force = choice("cartPole", action, 2) === 1 ? FORCE : -FORCE;
      const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
      const push = (force + POLE_MASS * HALF_LENGTH * spin ** 2 * sine) / TOTAL_MASS;
      const turn =
        (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4 / 3 - (POLE_MASS * cosine ** 2) / TOTAL_MASS));
      const acceleration = push - (POLE_MASS * HALF_LENGTH * turn * cosine) / TOTAL_MASS;
      const next = Float64Array.of(
        x + STEP * v,
        v + STEP * acceleration,
        angle + STEP * spin,
        spin + STEP * turn,
      );
      const terminal = Math.abs(next[0]!) > EDGE || Math.abs(next[2]!) > TOPPLED;
      return { state: next, reward: 1, terminal };
    },
    observe: (state) => state.slice(),
    traced: { step: tracedStep, observe: (state) => state },
  };
}

function tracedStep(state: Tensor, action: Tensor) {
  const [x, v, angle, spin] = [0, 1, 2, 3].map((i) => slice(state, null, i)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const force = where(equal(action, 1), FORCE, mul(onesLike(x), -FORCE));
  const [cosine, sine] = [cos(angle), sin(angle)];
  const push = div(add(force, mul(POLE_MASS * HALF_LENGTH, mul(square(spin), sine))), TOTAL_MASS);
  const inertia = mul(HALF_LENGTH, sub(4 / 3, mul(POLE_MASS / TOTAL_MASS, square(cosine))));
  const turn = div(sub(mul(GRAVITY, sine), mul(cosine, push)), inertia);
  const acceleration = sub(push, mul((POLE_MASS * HALF_LENGTH) / TOTAL_MASS, mul(turn, cosine)));
  const next = [
    add(x, mul(STEP, v)),
    add(v, mul(STEP, acceleration)),
    add(angle, mul(STEP, spin)),
    add(spin, mul(STEP, turn)),
  ];
  const terminal = logicalOr(greater(abs(next[0]!), EDGE), greater(abs(next[2]!), TOPPLED));
  return { state: stack(next, -1), reward: onesLike(x), terminal };
}
