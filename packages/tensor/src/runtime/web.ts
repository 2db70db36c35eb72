import type { OrtModule } from "./node.ts";

export type { OrtModule };

/**
 * ONNX Runtime compiled to WebAssembly; with WebGPU where that is asked for, whose build has fewer kernels on the CPU.
 */
export async function loadOrt(providers: readonly string[] = []): Promise<OrtModule> {
  const gpu = providers.includes("webgpu");
  const ort = gpu ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
  return {
    InferenceSession: ort.InferenceSession,
    Tensor: ort.Tensor,
    defaultProviders: ["wasm"],
    concurrent: false,
  };
}
