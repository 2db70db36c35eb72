import { type LinearOperator, norm } from "../linalg/index.ts";

/** The design of a regression, variable after variable: what coordinate methods and screening read is contiguous. */
export interface Design {
  readonly observations: number;
  readonly variables: number;
  /** `[variables, observations]`: variable j's column is `values.subarray(j · observations, (j + 1) · observations)`. */
  readonly values: Float64Array;
}

/**
 * Wraps columns as a design, without copying a Float64Array.
 *
 * @throws RangeError unless there are observations × variables values.
 */
export function design(observations: number, variables: number, values: ArrayLike<number>): Design {
  if (values.length !== observations * variables)
    throw new RangeError(
      `design: ${observations} observations of ${variables} variables need ${observations * variables} values, got ${values.length}`,
    );
  return {
    observations,
    variables,
    values: values instanceof Float64Array ? values : Float64Array.from(values),
  };
}

/** Column j, a view. */
export function column({ observations, values }: Design, j: number): Float64Array {
  return values.subarray(j * observations, (j + 1) * observations);
}

/** X β, `[observations]`; the columns of zero coefficients are not read. */
export function fittedValues(x: Design, coefficients: ArrayLike<number>): Float64Array {
  const fitted = new Float64Array(x.observations);
  const { observations, values } = x;
  for (let j = 0; j < x.variables; j++) {
    const weight = coefficients[j]!;
    if (weight === 0) continue;
    for (let i = 0, at = j * observations; i < observations; i++, at++) fitted[i]! += weight * values[at]!;
  }
  return fitted;
}

/** Xᵀ r, `[variables]`. */
export function correlations(x: Design, residual: Float64Array): Float64Array {
  const { observations: n, values } = x;
  const result = new Float64Array(x.variables);
  for (let j = 0, at = 0; j < x.variables; j++) {
    // Four sums at a time: one alone waits for the addition before it.
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    let i = 0;
    for (; i + 3 < n; i += 4, at += 4) {
      s0 += values[at]! * residual[i]!;
      s1 += values[at + 1]! * residual[i + 1]!;
      s2 += values[at + 2]! * residual[i + 2]!;
      s3 += values[at + 3]! * residual[i + 3]!;
    }
    for (; i < n; i++, at++) s0 += values[at]! * residual[i]!;
    result[j] = s0 + s1 + (s2 + s3);
  }
  return result;
}

/** The design with the chosen variables alone, in the order given. */
export function selectVariables(x: Design, variables: ArrayLike<number>): Design {
  const chosen = design(
    x.observations,
    variables.length,
    new Float64Array(x.observations * variables.length),
  );
  for (let k = 0; k < variables.length; k++) column(chosen, k).set(column(x, variables[k]!));
  return chosen;
}

/** Centres every column and scales it to the norm √observations; a constant column becomes zero. */
export function standardize(x: Design): Design {
  const standard = design(x.observations, x.variables, x.values.slice());
  for (let j = 0; j < x.variables; j++) {
    const values = column(standard, j);
    const center = values.reduce((sum, value) => sum + value, 0) / x.observations;
    for (let i = 0; i < values.length; i++) values[i]! -= center;
    const length = norm(values);
    const scale = length > 1e-12 * (1 + Math.abs(center)) ? Math.sqrt(x.observations) / length : 0;
    for (let i = 0; i < values.length; i++) values[i]! *= scale;
  }
  return standard;
}

/** The design as an operator from coefficients to fitted values. */
export function designOperator(x: Design): LinearOperator {
  return {
    rows: x.observations,
    columns: x.variables,
    apply: (coefficients) => fittedValues(x, coefficients),
    applyTransposed: (residual) => correlations(x, residual),
  };
}
