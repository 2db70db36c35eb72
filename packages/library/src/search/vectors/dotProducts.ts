/** `dotProducts.wat`, assembled. The test assembles the source again and compares. */
export const DOT_PRODUCTS_WASM =
  "AGFzbQEAAAABCQFgBX9/f39/AAITAQdsaWJyYXJ5Bm1lbW9yeQIAAQMCAQAHDwELZG90UHJvZHVjdHMAAArJAQHGAQIEfwJ7IAIgA0ECdGohBSABIQcCQANAIAIgBU8NAf0MAAAAAAAAAAAAAAAAAAAAACEJ/QwAAAAAAAAAAAAAAAAAAAAAIQogACEGIAcgBGohCANAIAkgBv0ABAAgB/0BAwD9ugH9rgEhCSAKIAb9AAQQIAf9AQMI/boB/a4BIQogBkEgaiEGIAdBEGohByAHIAhJDQALIAkgCv2uASEJIAIgCf0bACAJ/RsBaiAJ/RsCIAn9GwNqajYCACACQQRqIQIMAAsLCw==";

/** Computes `count` inner products of the int16 vector at `query` with the int8 vectors stored from `vectors` on. */
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
