/** `dotProducts.wat`, assembled. The test assembles the source again and compares. */
export const DOT_PRODUCTS_WASM =
  "AGFzbQEAAAABCQFgBX9/f39/AAITAQdsaWJyYXJ5Bm1lbW9yeQIAAQMCAQAHDwELZG90UHJvZHVjdHMAAAqlAQGiAQICfwN7IAIgA0ECdGohBQJAA0AgAiAFTw0B/QwAAAAAAAAAAAAAAAAAAAAAIQlBACEGA0AgACAGav0ABAAhByABIAZq/QAEACEIIAkgByAI/ZwBIAcgCP2dAf2OAf1+/a4BIQkgBkEQaiEGIAYgBEkNAAsgAiAJ/RsAIAn9GwFqIAn9GwIgCf0bA2pqNgIAIAEgBGohASACQQRqIQIMAAsLCw==";

/** Computes `count` inner products of the int8 vector at `query` with the ones stored from `vectors` on. */
export type DotProducts = (
  query: number,
  vectors: number,
  products: number,
  count: number,
  size: number,
) => void;

/** Binds the kernel to a memory. Addresses are bytes; `size` is the vector length, a multiple of 16. */
export function bindDotProducts(memory: WebAssembly.Memory): DotProducts {
  const module = new WebAssembly.Module(Buffer.from(DOT_PRODUCTS_WASM, "base64"));
  const { dotProducts } = new WebAssembly.Instance(module, { library: { memory } }).exports;
  return dotProducts as DotProducts;
}
