/** How far a curve goes up, all its rises together; 0 for one that only falls. */
export const totalRise = (curve: readonly number[]): number =>
  curve.slice(1).reduce((total, v, i) => total + Math.max(0, v - curve[i]!), 0);

/** Mean distance of two curves at the same steps. */
export const meanDistance = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((total, v, i) => total + Math.abs(v - b[i]!), 0) / a.length;
