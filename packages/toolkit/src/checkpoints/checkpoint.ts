import type { Tree } from "@prior-art/tensor";
import { defaultStore } from "#checkpoint-store";
import { InvalidCheckpointError } from "./safetensors.ts";
import { decodeTree, encodeTree } from "./treeFile.ts";

/** Keeps files by name. A file that was written is there in whole or not at all. */
export interface CheckpointStore {
  read(id: string): Promise<Uint8Array | undefined>;
  write(id: string, file: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** How to train a small model that several experiments share. */
export interface CheckpointRecipe<P> {
  /** Lower-case words joined by hyphens. */
  readonly name: string;
  /** Everything that the result depends on, the seed included; plain JSON. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Raised when the training code changes what comes out. Default 1. */
  readonly version?: number;
  /** Trains the parameters. Must give the same numbers every time. */
  readonly train: () => Promise<P>;
}

export interface Checkpoint<P> {
  readonly name: string;
  /** The recipe's name and a digest of what it depends on: another recipe never has the same id. */
  id(): Promise<string>;
  /** Whether `load` need not train. */
  isStored(): Promise<boolean>;
  /** The trained parameters: from memory, from the store, or trained now and stored. */
  load(): Promise<P>;
}

export interface CheckpointOptions {
  /**
   * Default: the data folder's `checkpoints` and the models that come with the package in Node; the browser's cache and the
   * site's files in a page.
   */
  readonly store?: CheckpointStore;
  /** Told of a stored file that cannot be read; it is made again. Default: a warning on the console. */
  readonly onCorrupted?: (id: string, reason: string) => void;
}

/**
 * A pretrained model as a recipe: trained once, kept under a name that says what it was made from, and loaded afterwards.
 *
 * @throws TypeError when the name is not made of lower-case words joined by hyphens.
 *
 * @example
 * const classifier = checkpoint({ name: "digit-classifier", settings: { hidden: 64, epochs: 30, seed: 0 }, train });
 * const params = await classifier.load();
 */
export function checkpoint<P>(
  { name, settings, version = 1, train }: CheckpointRecipe<P>,
  { store = defaultStore, onCorrupted = warn }: CheckpointOptions = {},
): Checkpoint<P> {
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name))
    throw new TypeError(
      `checkpoint: a name is lower-case words joined by hyphens, got ${JSON.stringify(name)}`,
    );
  const id = async () => `${name}-${await digest(canonical({ settings, version }))}`;
  let loading: Promise<P> | undefined;
  const loadOnce = async (): Promise<P> => {
    const key = await id();
    const file = await store.read(key);
    if (file) {
      try {
        return decodeTree(file) as P;
      } catch (error) {
        if (!(error instanceof InvalidCheckpointError)) throw error;
        onCorrupted(key, error.message);
      }
    }
    const params = await train();
    await store.write(key, await encodeTree(params as Tree));
    return params;
  };
  return {
    name,
    id,
    isStored: async () => (await store.read(await id())) !== undefined,
    load() {
      loading ??= loadOnce().catch((error) => {
        loading = undefined;
        throw error;
      });
      return loading;
    },
  };
}

/** The stored file of a model by its id, as the default store has it. */
export const checkpointFile = (id: string): Promise<Uint8Array | undefined> => defaultStore.read(id);

const warn = (id: string, reason: string): void =>
  console.warn(`the stored model ${id} is corrupted (${reason}) and is trained again`);

/** JSON with sorted keys, so that equal settings are equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, item) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

/** 64 bits of SHA-256 in hexadecimal. */
async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash, 0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
