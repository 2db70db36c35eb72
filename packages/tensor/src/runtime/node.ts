import type * as Ort from "onnxruntime-common";

export interface OrtModule {
  readonly InferenceSession: typeof Ort.InferenceSession;
  readonly Tensor: typeof Ort.Tensor;
  readonly defaultProviders: readonly string[];
  /** Whether a second run may begin before the first has ended. */
  readonly concurrent: boolean;
}

/** ONNX Runtime's native library, whatever the providers. */
export async function loadOrt(_providers?: readonly string[]): Promise<OrtModule> {
  const { default: ort } = await import("onnxruntime-node");
  return {
    InferenceSession: ort.InferenceSession,
    Tensor: ort.Tensor,
    defaultProviders: ["cpu"],
    concurrent: true,
  };
}
