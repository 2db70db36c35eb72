import type * as Ort from "onnxruntime-common";
import { loadOrt, type OrtModule } from "#ort";
import { type TypedArray, wordsPerElement } from "../dtype.ts";
import type { Lowered } from "../onnx/lower.ts";
import { sizeOf } from "../shape.ts";
import { type ConstantAttrs, constant, type Tensor } from "../tensor.ts";

export interface SessionOptions {
  /** Threads that one operator may use; 1 by default, since spinning threads slow small graphs down. */
  readonly threads?: number;
  /** Execution providers in order of preference, such as `["webgpu", "wasm"]`; the platform's CPU by default. */
  readonly providers?: readonly string[];
  /** File name prefix for the runtime's own profile, written when the session is released (Node only). */
  readonly profile?: string;
}

/** Builds of the runtime in use: one for all, but for WebGPU in browsers. */
const modules = new Map<string, Promise<OrtModule>>();

function ort(providers: readonly string[] | undefined): Promise<OrtModule> {
  const build = providers?.includes("webgpu") ? "webgpu" : "cpu";
  let loading = modules.get(build);
  if (loading === undefined) modules.set(build, (loading = loadOrt(providers)));
  return loading;
}

/** The last run of a runtime that takes one at a time. */
let turn: Promise<unknown> = Promise.resolve();

/** Waits for all that was asked before. */
function inTurn<T>(task: () => Promise<T>): Promise<T> {
  const mine = turn.then(task, task);
  turn = mine.catch(() => undefined);
  return mine;
}

/** A compiled model. */
export class Session {
  private constructor(
    private readonly inner: Ort.InferenceSession,
    private readonly runtime: OrtModule,
    private readonly profiled: boolean,
  ) {}

  static async create({ model, doublePrecision }: Lowered, options: SessionOptions = {}): Promise<Session> {
    const runtime = await ort(options.providers);
    const settings: Ort.InferenceSession.SessionOptions = {
      executionProviders: [...(options.providers ?? runtime.defaultProviders)],
      intraOpNumThreads: options.threads ?? 1,
      interOpNumThreads: 1,
      executionMode: "sequential",
      // Among the further optimizations are fused operators with factors in single precision.
      graphOptimizationLevel: doublePrecision ? "basic" : "all",
      logSeverityLevel: 3,
      ...(options.profile ? { enableProfiling: true, profileFilePrefix: options.profile } : {}),
    };
    const compile = () => runtime.InferenceSession.create(model, settings);
    const inner = await (runtime.concurrent ? compile() : inTurn(compile));
    return new Session(inner, runtime, options.profile !== undefined);
  }

  /** Runs the model; all inputs are computed tensors. */
  async run(
    feeds: Readonly<Record<string, Tensor>>,
    outputs: readonly { name: string; like: Tensor }[],
  ): Promise<Tensor[]> {
    const handles: Record<string, Ort.Tensor> = {};
    for (const name in feeds) handles[name] = this.handleOf(feeds[name]!);
    const names = outputs.map((o) => o.name);
    const compute = () => this.inner.run(handles, names);
    const results = await (this.runtime.concurrent ? compute() : inTurn(compute));
    return outputs.map(({ name, like }) => {
      const handle = results[name]!;
      return constant(handle.data as TypedArray, like.shape, like.dtype, handle);
    });
  }

  /** The runtime's view of a computed tensor's memory, made once for each build of the runtime. */
  private handleOf(t: Tensor): Ort.Tensor {
    const attrs = t.node.attrs as ConstantAttrs;
    if (!(attrs.handle instanceof this.runtime.Tensor)) {
      if (attrs.value.length !== sizeOf(t.shape) * wordsPerElement(t.dtype))
        throw new Error("a buffer changed its size");
      attrs.handle = new this.runtime.Tensor(t.dtype as "float32", attrs.value as Float32Array, t.shape);
    }
    return attrs.handle as Ort.Tensor;
  }

  /** Frees the model; a profile that was asked for is written now. */
  async release(): Promise<void> {
    if (this.profiled) this.inner.endProfiling();
    await this.inner.release();
  }
}
