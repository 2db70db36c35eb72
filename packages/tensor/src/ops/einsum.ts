import { isNumeric } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { range, showShape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { mul } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { sum } from "./reduce.ts";
import { reshape, slice, transpose } from "./shape.ts";

/** A tensor whose axes carry labels: letters, or numbers for the axes that an ellipsis stands for. */
interface Term {
  readonly labels: readonly string[];
  readonly value: Tensor;
}

interface Equation {
  readonly terms: readonly (readonly string[])[];
  readonly output: readonly string[];
}

const problem = (equation: string, text: string): TensorError =>
  new TensorError("einsum", `"${equation}": ${text}`);

/** Labels of an operand or of the output; `rank` tells how many axes the ellipsis stands for, counted from its end. */
function labelsOf(equation: string, part: string, rank: number | undefined, ellipsis: number): string[] {
  const [before, after, ...more] = part.split("...");
  if (!/^[A-Za-z]*$/.test(`${before}${after ?? ""}`) || more.length > 0)
    throw problem(equation, `"${part}" is not letters with at most one "..."`);
  const letters = before!.length + (after?.length ?? 0);
  const hidden = after === undefined ? 0 : rank === undefined ? ellipsis : rank - letters;
  if (hidden < 0 || (rank !== undefined && letters + hidden !== rank))
    throw problem(equation, `"${part}" names ${letters} axes of an operand that has ${rank}`);
  return [...before!, ...range(hidden).map((i) => String(hidden - 1 - i)), ...(after ?? "")];
}

function parse(equation: string, operands: readonly Tensor[]): Equation {
  const [left, right, ...more] = equation.replace(/\s/g, "").split("->");
  const parts = left!.split(",");
  if (more.length > 0) throw problem(equation, 'holds more than one "->"');
  if (parts.length !== operands.length)
    throw problem(equation, `names ${parts.length} operands, but ${operands.length} are given`);
  const terms = parts.map((part, i) => labelsOf(equation, part, operands[i]!.rank, 0));
  const hidden = terms.flat().filter((l) => /\d/.test(l));
  const ellipsis = hidden.length === 0 ? 0 : Math.max(...hidden.map(Number)) + 1;
  const used = new Set(terms.flat());
  if (right === undefined) {
    const all = terms.flat();
    const once = [...used].filter((l) => /\D/.test(l) && all.indexOf(l) === all.lastIndexOf(l)).sort();
    return { terms, output: [...range(ellipsis).map((i) => String(ellipsis - 1 - i)), ...once] };
  }
  const output = labelsOf(equation, right, undefined, ellipsis);
  if (ellipsis > 0 && !right.includes("..."))
    throw problem(equation, 'the operands have "...", so the output needs it too');
  const unknown = output.find((l) => !used.has(l));
  if (unknown !== undefined) throw problem(equation, `the output's "${unknown}" is in no operand`);
  if (new Set(output).size !== output.length) throw problem(equation, "the output repeats a letter");
  return { terms, output };
}

/** Throws unless each letter stands for one size (axes of an ellipsis broadcast instead). */
function checkSizes(equation: string, terms: readonly Term[]): void {
  const sizes = new Map<string, number>();
  for (const { labels, value } of terms)
    labels.forEach((label, axis) => {
      const n = value.shape[axis]!;
      const known = sizes.get(label);
      const broadcasts = /\d/.test(label) && (known === 1 || n === 1);
      if (known !== undefined && known !== n && !broadcasts)
        throw problem(
          equation,
          `"${/\d/.test(label) ? "..." : label}" stands for both ${known} and ${n} in ${terms.map((t) => showShape(t.value.shape)).join(" and ")}`,
        );
      sizes.set(label, Math.max(known ?? 1, n));
      if (n === 0) sizes.set(label, 0);
    });
}

/** Axes of equal label replaced by their diagonal. */
function withoutRepeats({ labels, value }: Term): Term {
  const second = labels.findIndex((l, i) => labels.indexOf(l) < i);
  if (second < 0) return { labels, value };
  const first = labels.indexOf(labels[second]!);
  const n = value.shape[first]!;
  const rest = range(value.rank).filter((a) => a !== first && a !== second);
  const shape = rest.map((a) => value.shape[a]!);
  const flat = reshape(transpose(value, [...rest, first, second]), [...shape, n * n]);
  const diagonal = slice(flat, ...shape.map(() => null), [null, null, n + 1]);
  return withoutRepeats({ labels: [...rest.map((a) => labels[a]!), labels[first]!], value: diagonal });
}

/** Axes summed away whose label is not `kept`. */
function summed({ labels, value }: Term, kept: ReadonlySet<string>): Term {
  const axes = range(labels.length).filter((a) => !kept.has(labels[a]!));
  return { labels: labels.filter((l) => kept.has(l)), value: sum(value, axes) };
}

/** The value with its axes in the order of `labels`, of which it may lack some (then of size 1). */
function aligned({ labels, value }: Term, order: readonly string[]): Tensor {
  const present = order.filter((l) => labels.includes(l));
  const sorted = transpose(
    value,
    present.map((l) => labels.indexOf(l)),
  );
  let axis = 0;
  return reshape(
    sorted,
    order.map((l) => (labels.includes(l) ? sorted.shape[axis++]! : 1)),
  );
}

/** The product of two terms, summed over labels that are not `kept`. */
function contract(left: Term, right: Term, kept: ReadonlySet<string>): Term {
  const shared = left.labels.filter((l) => right.labels.includes(l));
  const inner = shared.filter((l) => !kept.has(l));
  const batch = shared.filter((l) => kept.has(l));
  const rows = left.labels.filter((l) => !shared.includes(l));
  const columns = right.labels.filter((l) => !shared.includes(l));
  const order = [...batch, ...rows, ...columns];
  if (inner.length === 0) return { labels: order, value: mul(aligned(left, order), aligned(right, order)) };
  const all = [...order, ...inner];
  if (rows.length === 0 && columns.length === 0) {
    const product = mul(aligned(left, all), aligned(right, all));
    return { labels: order, value: sum(product, range(inner.length, order.length)) };
  }
  const sizes = (t: Tensor, from: number, count: number) => t.shape.slice(from, from + count);
  const a = aligned(left, [...batch, ...rows, ...inner]);
  const b = aligned(right, [...batch, ...inner, ...columns]);
  const b0 = batch.length;
  const rowShape = sizes(a, b0, rows.length);
  const columnShape = sizes(b, b0 + inner.length, columns.length);
  const k = sizeOf(sizes(b, b0, inner.length));
  const product = matmul(
    reshape(a, [...sizes(a, 0, b0), sizeOf(rowShape), k]),
    reshape(b, [...sizes(b, 0, b0), k, sizeOf(columnShape)]),
  );
  return { labels: order, value: reshape(product, [...sizes(product, 0, b0), ...rowShape, ...columnShape]) };
}

/**
 * Einstein summation: the product of the operands, summed over the axes whose letter is not in the output. A letter
 * that an operand repeats takes its diagonal; `...` stands for further axes, which broadcast; without `->`, the output
 * is `...` and the letters that occur once, in alphabetical order. Pairs are contracted from left to right, by matrix
 * products.
 * @throws TensorError when the equation doesn't fit the operands, or a letter stands for two sizes.
 * @example einsum("bij,bjk->bik", x, y)   // batched matrix product
 * @example einsum("ii->", x)              // trace
 */
export function einsum(equation: string, ...operands: Tensor[]): Tensor {
  if (operands.length === 0) throw problem(equation, "no operand is given");
  for (const t of operands)
    if (!isNumeric(t.dtype) || t.dtype !== operands[0]!.dtype)
      throw problem(equation, `operands are numbers of one dtype, not ${operands.map(String).join(" and ")}`);
  const { terms, output } = parse(equation, operands);
  const labelled = terms.map((labels, i): Term => ({ labels, value: operands[i]! }));
  checkSizes(equation, labelled);
  const needed = (from: number) => new Set([...output, ...terms.slice(from).flat()]);
  const elsewhere = (at: number) => new Set([...output, ...terms.filter((_, i) => i !== at).flat()]);
  const ready = labelled.map((term, i) => summed(withoutRepeats(term), elsewhere(i)));
  const result = ready
    .slice(1)
    .reduce((total, term, i) => summed(contract(total, term, needed(i + 2)), needed(i + 2)), ready[0]!);
  return aligned(result, output);
}
