import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import loadWabt from "wabt";
import { DOT_PRODUCTS_WASM } from "./dotProducts.ts";
import { codeLength, quantize } from "./quantize.ts";
import { VectorIndex } from "./vectorIndex.ts";

const everything = () => true;
const codes = (dimensions: number) =>
  fc.array(fc.integer({ min: -127, max: 127 }), { minLength: dimensions, maxLength: dimensions });

test("the kernel's bytes are its assembled source", async () => {
  const source = readFileSync(new URL("./dotProducts.wat", import.meta.url), "utf8");
  const wabt = await loadWabt();
  const { buffer } = wabt.parseWat("dotProducts.wat", source, { simd: true }).toBinary({});
  expect(Buffer.from(buffer).toString("base64")).toBe(DOT_PRODUCTS_WASM);
});

test("finds exactly what comparing with every vector finds", () => {
  const library = fc.array(codes(40), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(library, codes(40), fc.integer({ min: 1, max: 20 }), (vectors, query, limit) => {
      const index = new VectorIndex(40);
      vectors.forEach((vector, document) => {
        index.add(document, Int8Array.from(vector));
      });
      const cosines = vectors
        .map((vector, document) => ({ document, cosine: cosine(vector, query) }))
        .filter(({ cosine }) => cosine > 0)
        .sort((left, right) => right.cosine - left.cosine || left.document - right.document);
      const found = index.nearest(Int8Array.from(query), limit, everything);
      expect(found.map(({ document }) => document)).toEqual(
        cosines.slice(0, limit).map(({ document }) => document),
      );
    }),
  );
});

test("extreme codes do not overflow", () => {
  const index = new VectorIndex(512);
  index.add(0, new Int8Array(512).fill(-127));
  index.add(1, new Int8Array(512).fill(127));
  const [best] = index.nearest(new Int8Array(512).fill(127), 2, everything);
  expect(best).toEqual({ document: 1, score: expect.closeTo(1, 12) });
});

test("a document with several vectors is as near as the nearest of them", () => {
  const index = new VectorIndex(16);
  const axis = (position: number) => Int8Array.from({ length: 16 }, (_, at) => (at === position ? 100 : 1));
  index.add(7, axis(0));
  index.add(7, axis(1));
  index.add(9, axis(2));
  expect(index.nearest(axis(1), 5, everything).map(({ document }) => document)).toEqual([7, 9]);
  expect(index.vectorsOf(7)).toEqual([axis(0), axis(1)]);
  expect(index.vectorsOf(8)).toEqual([]);
});

test("thousands of vectors in several blocks and memory pages are all found again", () => {
  const index = new VectorIndex(32);
  const random = (seed: number) =>
    Int8Array.from({ length: 32 }, (_, at) => ((seed * 7919 + at * 104729) % 251) - 125);
  for (let document = 0; document < 10_000; document++) index.add(document, random(document));
  for (const document of [0, 4095, 4096, 9999]) {
    const [best] = index.nearest(random(document), 1, everything);
    expect(best!.score).toBeCloseTo(1, 12);
  }
});

test("quantization keeps the direction and survives zero and infinite vectors", () => {
  fc.assert(
    fc.property(
      fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 64, maxLength: 64 }),
      (list) => {
        const vector = Float32Array.from(list);
        const length = Math.hypot(...vector);
        fc.pre(length > 1e-3);
        const quantized = quantize(vector);
        expect(cosine([...quantized], [...vector])).toBeGreaterThan(0.99);
      },
    ),
  );
  expect(codeLength(quantize(new Float32Array(4)))).toBe(0);
  expect(codeLength(quantize(Float32Array.of(1, Number.POSITIVE_INFINITY)))).toBe(0);
});

function cosine(left: readonly number[], right: readonly number[]): number {
  let product = 0;
  left.forEach((value, index) => {
    product += value * right[index]!;
  });
  return product / (Math.hypot(...left) * Math.hypot(...right) || 1);
}
