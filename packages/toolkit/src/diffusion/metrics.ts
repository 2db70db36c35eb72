import { EigenvalueDecomposition, Matrix } from "ml-matrix";

/** Points as rows, `[count, dimensions]`. */
export interface Points {
  readonly values: ArrayLike<number>;
  readonly dimensions: number;
}

/** @throws RangeError unless the values fill at least `least` rows. */
function countOf(caller: string, { values, dimensions }: Points, least: number): number {
  const count = values.length / dimensions;
  if (!(Number.isInteger(count) && count >= least))
    throw new RangeError(`${caller}: ${values.length} values are no ${least} or more rows of ${dimensions}`);
  return count;
}

function requireSameDimensions(caller: string, a: Points, b: Points): void {
  if (a.dimensions !== b.dimensions)
    throw new RangeError(`${caller}: points of ${a.dimensions} and of ${b.dimensions} dimensions`);
}

/** Squared Euclidean distances, `[a's count, b's count]`. */
export function squaredDistances(a: Points, b: Points): Float64Array {
  requireSameDimensions("squaredDistances", a, b);
  const { dimensions } = a;
  const [rows, columns] = [countOf("squaredDistances", a, 1), countOf("squaredDistances", b, 1)];
  // One type of array, so that the inner loop compiles well.
  const [left, right] = [Float64Array.from(a.values), Float64Array.from(b.values)];
  const distances = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      let total = 0;
      for (let d = 0; d < dimensions; d++) {
        const away = left[i * dimensions + d]! - right[j * dimensions + d]!;
        total += away * away;
      }
      distances[i * columns + j] = total;
    }
  return distances;
}

export interface MmdOptions {
  /** Width of the kernel exp(−‖x − y‖² / (2 width²)); the median distance between the two sets by default. */
  readonly width?: number;
}

/**
 * Squared maximum mean discrepancy under a Gaussian kernel, unbiased (Gretton et al., 2012, eq. 3): 0 in expectation
 * when both sets come from one distribution, and then negative as often as positive.
 * @throws RangeError for fewer than two points in a set, or points of different dimensions.
 */
export function maximumMeanDiscrepancy(a: Points, b: Points, options: MmdOptions = {}): number {
  requireSameDimensions("maximumMeanDiscrepancy", a, b);
  const [n, m] = [countOf("maximumMeanDiscrepancy", a, 2), countOf("maximumMeanDiscrepancy", b, 2)];
  const across = squaredDistances(a, b);
  const width2 = options.width === undefined ? medianOf(across) : options.width ** 2;
  const kernel = (squared: number): number => Math.exp(-squared / (2 * width2));
  const within = (points: Points, count: number): number => {
    const distances = squaredDistances(points, points);
    // Each point's kernel with itself is 1.
    return (distances.reduce((sum, d) => sum + kernel(d), 0) - count) / (count * (count - 1));
  };
  const between = across.reduce((sum, d) => sum + kernel(d), 0) / (n * m);
  return within(a, n) + within(b, m) - 2 * between;
}

function medianOf(values: Float64Array): number {
  return values.slice().sort()[Math.floor(values.length / 2)]!;
}

export interface Coverage {
  /** Share of the generated points that lie in the real points' neighbourhoods: fidelity. */
  readonly precision: number;
  /** Share of the real points that lie in the generated points' neighbourhoods: diversity. */
  readonly recall: number;
}

/** Points with the balls around them that reach to each one's k-th nearest neighbour. */
export interface Manifold {
  readonly points: Points;
  /** Squared radii, `[count]`. */
  readonly radii: Float64Array;
}

/**
 * The manifold that a set of points stands for (Kynkäänniemi et al., 2019).
 * @param k 3 by default, as in the paper.
 * @throws RangeError unless there are more than k points.
 */
export function manifoldOf(points: Points, k = 3): Manifold {
  return { points, radii: neighbourhoods(points, countOf("manifoldOf", points, k + 1), k) };
}

/**
 * Precision and recall of generated points (Kynkäänniemi et al., 2019), with the same k for both manifolds.
 * @throws RangeError for points of different dimensions.
 */
export function precisionRecall(real: Manifold, generated: Manifold): Coverage {
  requireSameDimensions("precisionRecall", real.points, generated.points);
  const distances = squaredDistances(real.points, generated.points);
  const [n, m] = [real.radii.length, generated.radii.length];
  let inside = 0;
  for (let j = 0; j < m; j++)
    for (let i = 0; i < n; i++)
      if (distances[i * m + j]! <= real.radii[i]!) {
        inside++;
        break;
      }
  let covered = 0;
  for (let i = 0; i < n; i++)
    for (let j = 0; j < m; j++)
      if (distances[i * m + j]! <= generated.radii[j]!) {
        covered++;
        break;
      }
  return { precision: inside / m, recall: covered / n };
}

/** Squared distance of each point to its k-th nearest other one. */
function neighbourhoods(points: Points, count: number, k: number): Float64Array {
  const distances = squaredDistances(points, points);
  const nearest = new Float64Array(k);
  return Float64Array.from({ length: count }, (_, i) => {
    nearest.fill(Number.POSITIVE_INFINITY);
    for (let j = 0; j < count; j++) {
      const distance = distances[i * count + j]!;
      if (j === i || distance >= nearest[k - 1]!) continue;
      let place = k - 1;
      for (; place > 0 && nearest[place - 1]! > distance; place--) nearest[place] = nearest[place - 1]!;
      nearest[place] = distance;
    }
    return nearest[k - 1]!;
  });
}

/**
 * Fréchet distance of the Gaussians with the two sets' means and covariances,
 * `‖m₁ − m₂‖² + tr(C₁ + C₂ − 2 (C₁ C₂)^½)`; on a classifier's features it is the FID (Heusel et al., 2017).
 * @throws RangeError for fewer than two points in a set, or points of different dimensions.
 */
export function frechetDistance(a: Points, b: Points): number {
  requireSameDimensions("frechetDistance", a, b);
  const [first, second] = [moments(a), moments(b)];
  const offset = Matrix.sub(first.mean, second.mean).norm("frobenius") ** 2;
  // (C₁ C₂)^½ has the trace of (C₁^½ C₂ C₁^½)^½, which is symmetric.
  const root = squareRoot(first.covariance);
  const overlap = squareRoot(root.mmul(second.covariance).mmul(root)).trace();
  return Math.max(0, offset + first.covariance.trace() + second.covariance.trace() - 2 * overlap);
}

/** Row mean and covariance (over count − 1). */
function moments(points: Points): { readonly mean: Matrix; readonly covariance: Matrix } {
  const count = countOf("frechetDistance", points, 2);
  const rows = Matrix.from1DArray(count, points.dimensions, Array.from(points.values));
  const mean = Matrix.rowVector(rows.mean("column"));
  const centred = rows.subRowVector(mean);
  return {
    mean,
    covariance: centred
      .transpose()
      .mmul(centred)
      .div(count - 1),
  };
}

/** Of a positive semi-definite matrix. */
function squareRoot(matrix: Matrix): Matrix {
  const symmetric = Matrix.add(matrix, matrix.transpose()).mul(0.5);
  const { eigenvectorMatrix, realEigenvalues } = new EigenvalueDecomposition(symmetric, {
    assumeSymmetric: true,
  });
  const roots = Matrix.diag(realEigenvalues.map((value) => Math.sqrt(Math.max(0, value))));
  return eigenvectorMatrix.mmul(roots).mmul(eigenvectorMatrix.transpose());
}
