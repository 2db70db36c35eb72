/** A partition of variables into groups that are each contiguous. */
export interface Groups {
  /** Number of groups. */
  readonly count: number;
  /** Group g holds the variables `starts[g]` … `starts[g + 1] − 1`; `[count + 1]`. */
  readonly starts: Int32Array;
}

/**
 * Groups of the given sizes, one after the other.
 * @throws RangeError unless every size is a whole number of at least 1.
 */
export function groupsOfSizes(sizes: ArrayLike<number>): Groups {
  const starts = new Int32Array(sizes.length + 1);
  for (let g = 0; g < sizes.length; g++) {
    if (!(Number.isInteger(sizes[g]!) && sizes[g]! >= 1))
      throw new RangeError(
        `groupsOfSizes: size ${sizes[g]} of group ${g} is not a whole number of at least 1`,
      );
    starts[g + 1] = starts[g]! + sizes[g]!;
  }
  return { count: sizes.length, starts };
}

/** Number of variables in group g. */
export function groupSize({ starts }: Groups, g: number): number {
  return starts[g + 1]! - starts[g]!;
}

/** ‖x_g‖₂ of every group, `[count]`. */
export function groupNorms({ count, starts }: Groups, x: ArrayLike<number>): Float64Array {
  const norms = new Float64Array(count);
  for (let g = 0; g < count; g++) {
    let square = 0;
    for (let j = starts[g]!; j < starts[g + 1]!; j++) square += x[j]! ** 2;
    norms[g] = Math.sqrt(square);
  }
  return norms;
}

/** Variables of the chosen groups, in order, and the groups they form among themselves. */
export function selectGroups(
  groups: Groups,
  chosen: ArrayLike<number>,
): { readonly variables: Int32Array; readonly groups: Groups } {
  const selected = groupsOfSizes(Array.from(chosen, (g) => groupSize(groups, g)));
  const variables = new Int32Array(selected.starts[selected.count]!);
  for (let k = 0; k < selected.count; k++)
    for (let j = 0; j < groupSize(selected, k); j++)
      variables[selected.starts[k]! + j] = groups.starts[chosen[k]!]! + j;
  return { variables, groups: selected };
}
