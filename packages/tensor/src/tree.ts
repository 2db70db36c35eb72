import { TensorError } from "./errors.ts";
import { Tensor } from "./tensor.ts";

/** What functions take and return: tensors in plain objects, arrays and tuples; other leaves are static. */
export type Tree = Tensor | Static | readonly Tree[] | { readonly [key: string]: Tree };
export type Static = number | string | boolean | null | undefined;

/** A tree's structure without its tensors; two trees of equal `id` have the same structure and static leaves. */
export interface TreeShape {
  readonly id: string;
  readonly leaves: number;
  /** Path of each leaf, such as `params.layers[0].weight`. */
  readonly paths: readonly string[];
  build(leaves: readonly Tensor[]): Tree;
}

type Builder = (leaves: readonly Tensor[]) => Tree;

/** The tensors of a tree, in order (object keys sorted), and its structure. Throws on anything but plain data. */
export function flatten(op: string, tree: unknown): { leaves: Tensor[]; shape: TreeShape } {
  const leaves: Tensor[] = [];
  const paths: string[] = [];
  const ids: string[] = [];
  const walk = (value: unknown, path: string): Builder => {
    if (value instanceof Tensor) {
      const at = leaves.push(value) - 1;
      paths.push(path);
      ids.push("*");
      return (all) => all[at]!;
    }
    if (Array.isArray(value)) {
      ids.push("[");
      const parts = value.map((v, i) => walk(v, `${path}[${i}]`));
      ids.push("]");
      return (all) => parts.map((part) => part(all));
    }
    if (value === null || typeof value !== "object") {
      if (typeof value === "function" || typeof value === "symbol" || typeof value === "bigint")
        throw new TensorError(
          op,
          `${path || "the value"} is a ${typeof value}; trees hold tensors and plain data`,
        );
      ids.push(
        typeof value === "string" ? JSON.stringify(value) : Object.is(value, -0) ? "-0" : String(value),
      );
      return () => value as Static;
    }
    const proto = Object.getPrototypeOf(value);
    if (proto !== Object.prototype && proto !== null)
      throw new TensorError(
        op,
        `${path || "the value"} is a ${proto?.constructor?.name ?? "class instance"}; trees are plain objects, arrays and tensors`,
      );
    const record = value as Record<string, unknown>;
    const keys = Object.keys(record).sort();
    ids.push(`{${keys.map((k) => JSON.stringify(k)).join(",")}:`);
    const parts = keys.map((k) => walk(record[k], path ? `${path}.${k}` : k));
    ids.push("}");
    return (all) => Object.fromEntries(parts.map((part, i) => [keys[i]!, part(all)]));
  };
  const build = walk(tree, "");
  return { leaves, shape: { id: ids.join(""), leaves: leaves.length, paths, build } };
}

export const treeLeaves = (tree: unknown): Tensor[] => flatten("tree", tree).leaves;

/** Applies `f` to corresponding tensors of trees of one structure. */
export function treeMap<T>(f: (...leaves: Tensor[]) => Tensor, tree: T, ...rest: readonly unknown[]): T {
  const first = flatten("treeMap", tree);
  const others = rest.map((other) => {
    const flat = flatten("treeMap", other);
    if (
      flat.leaves.length !== first.leaves.length ||
      flat.shape.paths.some((p, i) => p !== first.shape.paths[i])
    )
      throw new TensorError(
        "treeMap",
        `the trees differ: {${first.shape.paths.join(", ")}} and {${flat.shape.paths.join(", ")}}`,
      );
    return flat.leaves;
  });
  return first.shape.build(first.leaves.map((leaf, i) => f(leaf, ...others.map((o) => o[i]!)))) as T;
}
