const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((total, v, i) => total + v * b[i]!, 0);

/** What is left of `y` after least squares on the columns, which are made orthogonal one by one. */
function residual(y: readonly number[], columns: readonly (readonly number[])[]): number[] {
  const basis: (readonly number[])[] = [];
  const rest = (v: readonly number[]) =>
    basis.reduce<readonly number[]>((r, b) => {
      const c = dot(r, b) / dot(b, b);
      return r.map((value, i) => value - c * b[i]!);
    }, v);
  for (const column of columns) basis.push(rest(column));
  return [...rest(y)];
}

/** Least squares of `y` on `x`, the other columns and a constant: the coefficient of `x`. */
export function coefficient(
  y: readonly number[],
  x: readonly number[],
  others: readonly (readonly number[])[] = [],
): number {
  const own = residual(x, [x.map(() => 1), ...others]);
  return dot(y, own) / dot(own, own);
}

/** Partial R²: the share of what the other columns and a constant leave of `y` that `x` explains. */
export function partialShare(
  y: readonly number[],
  x: readonly number[],
  others: readonly (readonly number[])[],
): number {
  const known = [x.map(() => 1), ...others];
  const [left, own] = [residual(y, known), residual(x, known)];
  return dot(left, own) ** 2 / (dot(left, left) * dot(own, own));
}

/** Root mean square distance of the values from the mean of their group, over groups of the same label. */
export function spreadWithin(values: readonly number[], groups: readonly (string | number)[]): number {
  const square = values.map((v, i) => {
    const own = values.filter((_, j) => groups[j] === groups[i]);
    return (v - own.reduce((a, b) => a + b) / own.length) ** 2;
  });
  return Math.sqrt(square.reduce((a, b) => a + b) / square.length);
}
