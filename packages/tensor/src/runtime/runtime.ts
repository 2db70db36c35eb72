import type * as Ort from "onnxruntime-common";
import { loadOrt, type OrtModule } from "#ort";
import { type DType, type TypedArray, wordsPerElement } from "../dtype.ts";
import type { Lowered } from "../onnx/lower.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { type ConstantAttrs, constant, type Tensor } from "../tensor.ts";

export interface SessionOptions {
  /** Threads that one operator may use; 1 by default, since spinning threads slow small graphs down. */
  readonly threads?: number;
  /** Execution providers in order of preference, such as `["webgpu", "wasm"]`; the platform's CPU by default. */
  readonly providers?: readonly string[];
  /** File name prefix for the runtime's own profile, written when the session is released (Node only). */
  readonly profile?: string;
}

let module: Promise<OrtModule> | undefined;
let loaded: OrtModule | undefined;

async function ort(): Promise<OrtModule> {
  module ??= loadOrt().then((m) => (loaded = m));
  return module;
}

/** A compiled model. */
export class Session {
  private constructor(
    private readonly inner: Ort.InferenceSession,
    private readonly profiled: boolean,
  ) {}

  static async create({ model, doublePrecision }: Lowered, options: SessionOptions = {}): Promise<Session> {
    const { InferenceSession, defaultProviders } = await ort();
    const inner = await InferenceSession.create(model, {
      executionProviders: [...(options.providers ?? defaultProviders)],
      intraOpNumThreads: options.threads ?? 1,
      interOpNumThreads: 1,
      executionMode: "sequential",
      // Among the further optimizations are fused operators with factors in single precision.
      graphOptimizationLevel: doublePrecision ? "basic" : "all",
      logSeverityLevel: 3,
      ...(options.profile ? { enableProfiling: true, profileFilePrefix: options.profile } : {}),
    });
    return new Session(inner, options.profile !== undefined);
  }

  /** Runs the model; all inputs are computed tensors. */
  async run(
    feeds: Readonly<Record<string, Tensor>>,
    outputs: readonly { name: string; like: Tensor }[],
  ): Promise<Tensor[]> {
    const handles: Record<string, Ort.Tensor> = {};
    for (const name in feeds) handles[name] = handleOf(feeds[name]!);
    const results = await this.inner.run(
      handles,
      outputs.map((o) => o.name),
    );
    return outputs.map(({ name, like }) => {
      const handle = results[name]!;
      return constant(handle.data as TypedArray, like.shape, like.dtype, handle);
    });
  }

  /** Frees the model; a profile that was asked for is written now. */
  async release(): Promise<void> {
    if (this.profiled) this.inner.endProfiling();
    await this.inner.release();
  }
}

/** The runtime's view of a computed tensor's memory, made once. */
function handleOf(t: Tensor): Ort.Tensor {
  const attrs = t.node.attrs as ConstantAttrs;
  attrs.handle ??= newHandle(attrs.value, t.dtype, t.shape);
  return attrs.handle as Ort.Tensor;
}

function newHandle(value: TypedArray, dtype: DType, shape: Shape): Ort.Tensor {
  if (value.length !== sizeOf(shape) * wordsPerElement(dtype)) throw new Error("a buffer changed its size");
  return new loaded!.Tensor(dtype as "float32", value as Float32Array, shape);
}
