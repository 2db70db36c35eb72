import { isNumeric } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import type { LowerContext } from "../onnx/lower.ts";
import { broadcastShapes, type Shape, showShape, sizeOf } from "../shape.ts";
import { apply, type Primitive, type Tensor } from "../tensor.ts";
import { alignRanks, unbroadcast } from "./broadcast.ts";
import { liftAll } from "./create.ts";
import { add } from "./elementwise.ts";
import { matrixTranspose, reshape, transposePrimitive } from "./shape.ts";

const matmulPrimitive: Primitive<null> = {
  name: "matmul",
  infer: ([x, y]) => {
    const lead = broadcastShapes("matmul", x!.shape.slice(0, -2), y!.shape.slice(0, -2));
    return [{ shape: [...lead, x!.shape.at(-2)!, y!.shape.at(-1)!], dtype: x!.dtype }];
  },
  vjp: ({ inputs: [x, y] }, [ct], needed) => [
    ct && needed[0] ? unbroadcast(product(ct, matrixTranspose(y!)), x!.shape) : undefined,
    ct && needed[1] ? unbroadcast(product(matrixTranspose(x!), ct), y!.shape) : undefined,
  ],
  jvp: ({ inputs: [x, y] }, [tx, ty]) => {
    const left = tx && product(tx, y!);
    const right = ty && product(x!, ty);
    return [left && right ? add(left, right) : (left ?? right)];
  },
  batch: (inputs, batched) => {
    const [x, y] = alignRanks(inputs, batched);
    return [product(x!, y!)];
  },
  lower: (ctx, inputs, node) => {
    const [x, y] = node.inputs as [Tensor, Tensor];
    if (x.rank !== 2 || y.rank !== 2 || x.dtype === "int32") return [ctx.emit("MatMul", inputs)];
    const [a, transA] = untransposed(x);
    const [b, transB] = untransposed(y);
    // The runtime's kernel reads a transposed left operand slowly, a transposed right one at full speed. Of the two
    // ways around that, the one that moves less memory is taken.
    if (transA && !transB) {
      if (y.size + node.outputs[0]!.size >= x.size)
        return [ctx.emit("MatMul", [unfusedTranspose(ctx, ctx.name(a), a.shape), inputs[1]!])];
      const flipped = ctx.emit("MatMul", [unfusedTranspose(ctx, inputs[1]!, y.shape), ctx.name(a)]);
      return [ctx.emit("Transpose", [flipped], { perm: [1, 0] })];
    }
    if (!transB) return [ctx.emit("MatMul", inputs)];
    return [ctx.emit("Gemm", [inputs[0]!, ctx.name(b)], { transB: 1 })];
  },
};

/** A matrix's source when it is a transpose, which Gemm reads in place. */
const untransposed = (t: Tensor): [Tensor, boolean] =>
  t.node.primitive === transposePrimitive ? [t.node.inputs[0]!, true] : [t, false];

/** A transposed matrix, in a form that the runtime's optimizer doesn't fold back into the product. */
function unfusedTranspose(ctx: LowerContext, name: string, [rows, columns]: Shape): string {
  const stack = ctx.reshape(name, [1, rows!, columns!]);
  return ctx.reshape(ctx.emit("Transpose", [stack], { perm: [0, 2, 1] }), [columns!, rows!]);
}

/** A stack of matrices times one matrix is a single, taller product. */
function product(x: Tensor, y: Tensor): Tensor {
  if (y.rank !== 2 || x.rank === 2) return apply(matmulPrimitive, [x, y], null);
  const rows = sizeOf(x.shape.slice(0, -1));
  const flat = apply(matmulPrimitive, [reshape(x, [rows, x.shape.at(-1)!]), y], null);
  return reshape(flat, [...x.shape.slice(0, -1), y.shape[1]!]);
}

/**
 * Matrix product `[…, m, k] · […, k, n] → […, m, n]` with broadcast leading axes; vectors count as one row or column,
 * which the result drops.
 * @throws TensorError when the inner sizes differ.
 */
export function matmul(x: Tensor, y: Tensor): Tensor {
  const [a, b] = liftAll("matmul", [x, y]) as [Tensor, Tensor];
  if (!isNumeric(a.dtype)) throw new TensorError("matmul", `takes numbers, not ${a.dtype}`);
  if (a.rank === 0 || b.rank === 0)
    throw new TensorError(
      "matmul",
      `takes vectors and matrices, not ${showShape(a.shape)} and ${showShape(b.shape)}`,
    );
  const left = a.rank === 1 ? reshape(a, [1, a.size]) : a;
  const right = b.rank === 1 ? reshape(b, [b.size, 1]) : b;
  if (left.shape.at(-1) !== right.shape.at(-2))
    throw new TensorError("matmul", `inner sizes differ: ${showShape(a.shape)} and ${showShape(b.shape)}`);
  const out = product(left, right);
  const lead = out.shape.slice(0, -2);
  if (a.rank === 1 && b.rank === 1) return reshape(out, []);
  if (a.rank === 1) return reshape(out, [...lead, out.shape.at(-1)!]);
  return b.rank === 1 ? reshape(out, [...lead, out.shape.at(-2)!]) : out;
}

/** Inner product of two vectors. */
export const dot = (x: Tensor, y: Tensor): Tensor => matmul(x, y);
/** Outer product of two vectors, `[m, n]`. */
export const outer = (x: Tensor, y: Tensor): Tensor =>
  matmul(reshape(x, [x.size, 1]), reshape(y, [1, y.size]));
