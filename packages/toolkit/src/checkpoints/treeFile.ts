import { data, evaluate, Tensor, type Tree } from "@prior-art/tensor";
import {
  decodeSafetensors,
  encodeSafetensors,
  InvalidCheckpointError,
  type StoredArray,
  toTensor,
} from "./safetensors.ts";

/** How a tree looks with its tensors taken out: `{"tensor": name}` where one was. */
type Structure =
  | { readonly tensor: string }
  | { readonly list: readonly Structure[] }
  | { readonly record: Readonly<Record<string, Structure>> }
  | { readonly value: number | string | boolean | null };

/** Writes a tree of tensors as a safetensors file that `decodeTree` reads; array names are paths like `layers.0.weight`. */
export async function encodeTree(tree: Tree): Promise<Uint8Array<ArrayBuffer>> {
  await evaluate(tree);
  const tensors: Record<string, StoredArray> = {};
  const walk = async (node: Tree, path: string): Promise<Structure> => {
    if (node instanceof Tensor) {
      if (node.dtype === "key")
        throw new TypeError(`encodeTree: ${path} is a random key, which has no values`);
      const name = path || "tensor";
      tensors[name] = { dtype: node.dtype, shape: node.shape, values: await data(node) };
      return { tensor: name };
    }
    const inner = (key: string | number) => (path ? `${path}.${key}` : String(key));
    if (Array.isArray(node)) {
      const list: Structure[] = [];
      for (const [i, part] of node.entries()) list.push(await walk(part as Tree, inner(i)));
      return { list };
    }
    if (typeof node === "object" && node !== null) {
      const record: Record<string, Structure> = {};
      for (const [key, part] of Object.entries(node)) record[key] = await walk(part as Tree, inner(key));
      return { record };
    }
    if (typeof node === "number" && !Number.isFinite(node))
      throw new TypeError(`encodeTree: ${path} is ${node}, which a file cannot hold outside a tensor`);
    return { value: (node ?? null) as number | string | boolean | null };
  };
  const structure = await walk(tree, "");
  return encodeSafetensors(tensors, { tree: JSON.stringify(structure) });
}

/**
 * Reads what `encodeTree` wrote.
 * @throws InvalidCheckpointError when the file is damaged or of another origin.
 */
export function decodeTree(file: Uint8Array): Tree {
  const { tensors, metadata } = decodeSafetensors(file);
  const build = (node: Structure): Tree => {
    if ("tensor" in node) {
      const stored = Object.hasOwn(tensors, node.tensor) ? tensors[node.tensor] : undefined;
      if (!stored) throw new InvalidCheckpointError(`there is no array "${node.tensor}"`);
      return toTensor(stored);
    }
    if ("list" in node) return node.list.map(build);
    if ("record" in node)
      return Object.fromEntries(Object.entries(node.record).map(([key, part]) => [key, build(part)]));
    return node.value;
  };
  try {
    return build(JSON.parse(metadata.tree ?? "") as Structure);
  } catch (error) {
    if (error instanceof InvalidCheckpointError) throw error;
    throw new InvalidCheckpointError("the file does not describe a tree");
  }
}
