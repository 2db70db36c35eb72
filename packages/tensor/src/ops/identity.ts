import { apply, type Primitive, type Tensor } from "../tensor.ts";

interface IdentityAttrs {
  readonly differentiable: boolean;
}

const identityPrimitive: Primitive<IdentityAttrs> = {
  name: "identity",
  infer: ([x]) => [x!],
  vjp: ({ attrs }, [ct]) => [attrs.differentiable ? ct : undefined],
  jvp: ({ attrs }, [t]) => [attrs.differentiable ? t : undefined],
  batch: ([x], _, attrs) => [apply(identityPrimitive, [x!], attrs)],
  lower: (_, inputs) => [inputs[0]!],
};

/** The same value as a node of its own, which derivatives can be taken by, or which stops them. */
export function identity(x: Tensor, attrs: IdentityAttrs = { differentiable: true }): Tensor {
  return apply(identityPrimitive, [x], attrs);
}

/** The same value, with derivative 0. */
export const stopGradient = (x: Tensor): Tensor => identity(x, { differentiable: false });
