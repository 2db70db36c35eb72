import { dot, norm } from "./vectors.ts";

/** A linear map given by its products alone, such as a large sparse matrix or a projector. */
export interface LinearOperator {
  readonly rows: number;
  readonly columns: number;
  /** A x, `[rows]`, into `out` if given. */
  apply(x: Float64Array, out?: Float64Array): Float64Array;
  /** Aᵀ y, `[columns]`, into `out` if given. */
  applyTransposed(y: Float64Array, out?: Float64Array): Float64Array;
}

export interface PowerIterationOptions {
  /** Relative change of the estimate at which to stop. Default 1e-10. */
  readonly tolerance?: number;
  /** Default 1,000. */
  readonly maxIterations?: number;
}

export interface EigenPair {
  readonly value: number;
  /** Of length one. */
  readonly vector: Float64Array;
  readonly iterations: number;
}

/**
 * Largest eigenvalue in absolute value of a symmetric map, by power iteration from a fixed generic start.
 *
 * The estimate is the Rayleigh quotient, which approaches the eigenvalue from inside the spectrum.
 */
export function powerIteration(
  apply: (x: Float64Array) => Float64Array,
  size: number,
  { tolerance = 1e-10, maxIterations = 1000 }: PowerIterationOptions = {},
): EigenPair {
  // An irrational rotation: no symmetric structure of a matrix is orthogonal to it.
  let vector: Float64Array = Float64Array.from(
    { length: size },
    (_, i) => 1 + 0.5 * Math.sin(1 + i * Math.SQRT2),
  );
  vector = scaled(vector, 1 / norm(vector));
  let value = 0;
  for (let iterations = 1; ; iterations++) {
    const image = apply(vector);
    const next = dot(vector, image);
    const length = norm(image);
    if (length === 0) return { value: 0, vector, iterations };
    vector = scaled(image, 1 / length);
    const settled = Math.abs(next - value) <= tolerance * Math.abs(next);
    value = next;
    if (settled || iterations >= maxIterations) return { value, vector, iterations };
  }
}

/** ‖A‖₂, the largest singular value. */
export function operatorNorm(operator: LinearOperator, options?: PowerIterationOptions): number {
  const { value } = powerIteration(
    (x) => operator.applyTransposed(operator.apply(x)),
    operator.columns,
    options,
  );
  return Math.sqrt(Math.max(0, value));
}

function scaled(x: Float64Array, factor: number): Float64Array {
  return x.map((value) => value * factor);
}
