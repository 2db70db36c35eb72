export { cond } from "./control/cond.ts";
export { type ScanOptions, scan } from "./control/scan.ts";
export { whileLoop } from "./control/while.ts";
export type { DType, TypedArray } from "./dtype.ts";
export { TensorError } from "./errors.ts";
export * as linalg from "./linalg/index.ts";
export * from "./ops/compare.ts";
export {
  type ConvOptions,
  type ConvTransposeOptions,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  type Padding,
} from "./ops/conv.ts";
export {
  arange,
  eye,
  full,
  linspace,
  ones,
  onesLike,
  scalar,
  type TensorLike,
  tensor,
  zeros,
  zerosLike,
} from "./ops/create.ts";
export { einsum } from "./ops/einsum.ts";
export {
  abs,
  add,
  ceil,
  cos,
  div,
  erf,
  exp,
  floor,
  log,
  maximum,
  minimum,
  mod,
  mul,
  neg,
  pow,
  reciprocal,
  relu,
  round,
  sigmoid,
  sign,
  sin,
  softplus,
  sqrt,
  sub,
  tanh,
} from "./ops/elementwise.ts";
export { stopGradient } from "./ops/identity.ts";
export {
  argsort,
  oneHot,
  scatterAdd,
  sort,
  take,
  takeAlongAxis,
  topK,
  tril,
  triu,
} from "./ops/indexing.ts";
export * from "./ops/matmul.ts";
export { avgPool1d, avgPool2d, maxPool1d, maxPool2d, type PoolOptions, upsample } from "./ops/pool.ts";
export * from "./ops/reduce.ts";
export {
  broadcastTo,
  concat,
  expandDims,
  flip,
  matrixTranspose,
  moveAxis,
  pad,
  reshape,
  roll,
  type SliceSpec,
  slice,
  split,
  squeeze,
  stack,
  tile,
  transpose,
} from "./ops/shape.ts";
export * from "./ops/softmax.ts";
export * from "./ops/special.ts";
export * as random from "./random/index.ts";
export { debugNans } from "./runtime/debug.ts";
export { evaluate } from "./runtime/evaluate.ts";
export type { SessionOptions } from "./runtime/runtime.ts";
export type { Shape } from "./shape.ts";
export { type Nested, Tensor } from "./tensor.ts";
export { type CustomRule, customVjp } from "./transforms/custom.ts";
export { toOnnx } from "./transforms/export.ts";
export { grad, hessian, hvp, jacobian, jvp, valueAndGrad, vjp } from "./transforms/grad.ts";
export { type JitFunction, type JitOptions, jit } from "./transforms/jit.ts";
export { type VmapOptions, vmap } from "./transforms/vmap.ts";
export { type Tree, treeLeaves, treeMap } from "./tree.ts";
export { data, item, toArray } from "./values.ts";
