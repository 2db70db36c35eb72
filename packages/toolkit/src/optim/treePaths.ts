import { Tensor } from "@prior-art/tensor";

/** Applies `f` to each tensor of a tree with its path, such as `blocks[0].norm.scale`; keys in sorted order. */
export function mapPaths<P>(tree: P, f: (path: string, tensor: Tensor) => Tensor): P {
  const walk = (value: unknown, path: string): unknown => {
    if (value instanceof Tensor) return f(path, value);
    if (Array.isArray(value)) return value.map((part, i) => walk(part, `${path}[${i}]`));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.keys(value)
        .sort()
        .map((key) => [key, walk((value as Record<string, unknown>)[key], path ? `${path}.${key}` : key)]),
    );
  };
  return walk(tree, "") as P;
}
