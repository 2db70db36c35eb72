import type { OrtModule } from "./node.ts";

export type { OrtModule };

/** ONNX Runtime compiled to WebAssembly, with WebGPU where the browser has it and it is asked for. */
export async function loadOrt(): Promise<OrtModule> {
  const ort = await import("onnxruntime-web/webgpu");
  return { InferenceSession: ort.InferenceSession, Tensor: ort.Tensor, defaultProviders: ["wasm"] };
}
