import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { data, type Tensor, tensor, zeros } from "@prior-art/tensor";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  checkpoint,
  decodeSafetensors,
  decodeTree,
  encodeSafetensors,
  encodeTree,
  InvalidCheckpointError,
} from "./index.ts";
import { folderStore } from "./store/node.ts";

/** A file with this header and `bytes` bytes behind it. */
function fileOf(header: unknown, bytes: ArrayLike<number> | number = 0): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const body = typeof bytes === "number" ? new Uint8Array(bytes) : Uint8Array.from(bytes);
  const file = new Uint8Array(8 + json.length + body.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(body, 8 + json.length);
  return file;
}

describe("safetensors", () => {
  test("arrays of every dtype come back, and start at multiples of eight bytes", () => {
    const tensors = {
      weight: { dtype: "float32", shape: [2, 3], values: Float32Array.of(1, -2, 3.5, 0, Number.NaN, 6) },
      precise: { dtype: "float64", shape: [1], values: Float64Array.of(Math.PI) },
      labels: { dtype: "int32", shape: [2], values: Int32Array.of(-7, 2 ** 31 - 1) },
      mask: { dtype: "bool", shape: [3], values: Uint8Array.of(1, 0, 1) },
      none: { dtype: "float32", shape: [0, 4], values: new Float32Array(0) },
    } as const;
    const file = encodeSafetensors(tensors, { origin: "test" });
    expect(new DataView(file.buffer).getBigUint64(0, true) % 8n).toBe(0n);
    const decoded = decodeSafetensors(file);
    expect(decoded.metadata).toEqual({ origin: "test" });
    // An array without bytes may come before the one that starts where it does.
    expect(decoded.tensors).toEqual(tensors);
  });

  test("half precision, brain floats and 64-bit integers are read as what they stand for", () => {
    const header = {
      h: { dtype: "F16", shape: [4], data_offsets: [0, 8] },
      b: { dtype: "BF16", shape: [2], data_offsets: [8, 12] },
      i: { dtype: "I64", shape: [1], data_offsets: [12, 20] },
    };
    // 1, -2, the smallest subnormal, infinity; 1, -2.5; -3.
    const words = [0x3c00, 0xc000, 0x0001, 0x7c00, 0x3f80, 0xc020, 0xfffd, 0xffff, 0xffff, 0xffff];
    const { tensors } = decodeSafetensors(
      fileOf(
        header,
        words.flatMap((w) => [w & 255, w >> 8]),
      ),
    );
    expect([...tensors.h!.values]).toEqual([1, -2, 2 ** -24, Number.POSITIVE_INFINITY]);
    expect([...tensors.b!.values]).toEqual([1, -2.5]);
    expect([...tensors.i!.values]).toEqual([-3]);
  });

  const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  test.each([
    ["an empty file", new Uint8Array(0), /too short/],
    [
      "a header longer than the file",
      Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127, 1),
      /does not fit/,
    ],
    ["a header that is no JSON", fileOf("{"), /not JSON/],
    ["a header that is a list", fileOf([]), /not a table/],
    ["an unknown type", fileOf({ w: { ...entry, dtype: "constructor" } }, 8), /type "constructor"/],
    ["a negative size", fileOf({ w: { ...entry, shape: [-1, -2] } }, 8), /no shape/],
    ["a size that overflows", fileOf({ w: { ...entry, shape: [2 ** 52, 2 ** 52] } }, 8), /asks for/],
    ["an array beyond the end", fileOf({ w: entry }, 4), /the file at/],
    ["bytes that belong to no array", fileOf({ w: entry }, 12), /the file at/],
    ["arrays over each other", fileOf({ w: entry, v: { ...entry } }, 8), /starts at byte 0, not at 8/],
    ["metadata that is no text", fileOf({ __metadata__: { a: 1 } }), /metadata/],
  ])("%s is refused", (_, file, reason) => {
    expect(() => decodeSafetensors(file)).toThrow(InvalidCheckpointError);
    expect(() => decodeSafetensors(file)).toThrow(reason);
  });

  test("a damaged file is refused or read, never anything else", () => {
    const whole = encodeSafetensors({ w: { dtype: "float32", shape: [2], values: Float32Array.of(1, 2) } });
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, byte, length) => {
        const damaged = whole.slice(0, length);
        if (at < length) damaged[at] = byte;
        try {
          decodeSafetensors(damaged);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidCheckpointError);
        }
      }),
    );
  });
});

test("a tree of tensors comes back with its structure", async () => {
  const tree = {
    layers: [
      { w: tensor([[1, 2]]), b: zeros([2]) },
      { w: tensor([3]), b: null },
    ],
    rate: 0.5,
  };
  const back = decodeTree(await encodeTree(tree)) as typeof tree;
  expect(back.rate).toBe(0.5);
  expect(back.layers[1]!.b).toBeNull();
  expect(back.layers[0]!.w.shape).toEqual([1, 2]);
  expect([...(await data(back.layers[0]!.w))]).toEqual([1, 2]);
  expect(Object.keys(decodeSafetensors(await encodeTree(tree)).tensors)).toContain("layers.0.w");
});

describe("checkpoint", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "prior-art-checkpoints-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function recipe(settings: Record<string, unknown>, corrupted: string[] = []) {
    let trainings = 0;
    const model = checkpoint<{ w: Tensor }>(
      {
        name: "tiny",
        settings,
        train: async () => {
          trainings++;
          return { w: tensor([1, 2, 3]) };
        },
      },
      { store: folderStore(() => folder), onCorrupted: (_, reason) => corrupted.push(reason) },
    );
    return { model, trainings: () => trainings };
  }

  test("is trained once, also when asked twice at the same time, and loaded by the next process", async () => {
    const first = recipe({ seed: 0 });
    expect(await first.model.isStored()).toBe(false);
    await Promise.all([first.model.load(), first.model.load()]);
    expect(first.trainings()).toBe(1);
    const next = recipe({ seed: 0 });
    expect(await next.model.isStored()).toBe(true);
    expect([...(await data((await next.model.load()).w))]).toEqual([1, 2, 3]);
    expect(next.trainings()).toBe(0);
  });

  test("settings name the file, whatever their order; other settings are another model", async () => {
    const id = await recipe({ seed: 0, width: 4 }).model.id();
    expect(id).toMatch(/^tiny-[0-9a-f]{16}$/);
    expect(await recipe({ width: 4, seed: 0 }).model.id()).toBe(id);
    expect(await recipe({ width: 4, seed: 1 }).model.id()).not.toBe(id);
  });

  test("a damaged file is named and made again", async () => {
    await recipe({ seed: 0 }).model.load();
    const [file] = readdirSync(folder);
    writeFileSync(join(folder, file!), "damaged beyond repair");
    const corrupted: string[] = [];
    const again = recipe({ seed: 0 }, corrupted);
    await again.model.load();
    expect(again.trainings()).toBe(1);
    expect(corrupted).toEqual([expect.stringMatching(/does not fit/)]);
    expect(await recipe({ seed: 0 }).model.isStored()).toBe(true);
  });

  test("a training that failed is tried again, and a name that is no name is refused", async () => {
    let attempts = 0;
    const model = checkpoint(
      {
        name: "tiny",
        settings: {},
        train: async () => {
          if (++attempts === 1) throw new Error("out of memory");
          return { w: tensor([1]) };
        },
      },
      { store: folderStore(() => folder) },
    );
    await expect(model.load()).rejects.toThrow("out of memory");
    await model.load();
    expect(attempts).toBe(2);
    expect(() => checkpoint({ name: "../evil", settings: {}, train: async () => 0 })).toThrow(/lower-case/);
  });
});
