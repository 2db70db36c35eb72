import { type Design, design, fittedValues, groupsOfSizes, standardize } from "@prior-art/toolkit/convex";
import { breastCancer } from "@prior-art/toolkit/data";
import { type RandomStream, randomStream } from "@prior-art/toolkit/stats";
import type { RegressionData } from "./family.ts";

export interface Simulation {
  readonly observations: number;
  readonly groups: number;
  /** Share of the groups that have an effect, and of the variables in them. */
  readonly activeGroups: number;
  readonly activeVariables: number;
}

/**
 * A sparse-group regression: groups of 3–25 variables, correlated by 0.6 within a group, effects from N(0, 5), noise of
 * variance 1. Columns are standardized and the response is centred.
 */
export function simulateGroups(
  { observations, groups: count, activeGroups, activeVariables }: Simulation,
  seed: number,
): RegressionData {
  const stream = randomStream(seed, "grouped regression");
  const groups = groupsOfSizes(Array.from({ length: count }, () => 3 + stream.integer(23)));
  const variables = groups.starts[count]!;
  const values = new Float64Array(observations * variables);
  const effects = new Float64Array(variables);
  for (let g = 0; g < count; g++) {
    const shared = Float64Array.from({ length: observations }, () => stream.normal());
    for (let j = groups.starts[g]!; j < groups.starts[g + 1]!; j++)
      for (let i = 0; i < observations; i++)
        values[j * observations + i] = Math.sqrt(0.6) * shared[i]! + Math.sqrt(0.4) * stream.normal();
  }
  const chosen = stream.permutation(count).subarray(0, Math.max(1, Math.round(activeGroups * count)));
  for (const g of chosen)
    for (let j = groups.starts[g]!; j < groups.starts[g + 1]!; j++)
      if (stream.uniform() < activeVariables) effects[j] = Math.sqrt(5) * stream.normal();
  const x = standardize(design(observations, variables, values));
  const response = fittedValues(x, effects).map((value) => value + stream.normal());
  return { design: x, response: centred(response), groups };
}

/**
 * Measurements of tumours: the powers 1–3 of each of 30 features, and three products of each pair, a group each; the
 * response is the diagnosis, ±1. 1,395 variables.
 */
export async function tumours(observations: number, seed: number): Promise<RegressionData> {
  const { features, shape, labels } = await breastCancer();
  const [examples, columns] = shape;
  const rows = drawRows(examples, observations, randomStream(seed, "tumours"));
  const raw = new Float64Array(observations * columns);
  rows.forEach((row, i) => {
    for (let j = 0; j < columns; j++) raw[j * observations + i] = features[row * columns + j]!;
  });
  const z: Design = standardize(design(observations, columns, raw));
  const blocks: number[][] = [];
  const at = (j: number, i: number): number => z.values[j * observations + i]!;
  const add = (f: (i: number) => number): void => {
    blocks.push(Array.from({ length: observations }, (_, i) => f(i)));
  };
  for (let j = 0; j < columns; j++) for (const power of [1, 2, 3]) add((i) => at(j, i) ** power);
  for (let j = 0; j < columns; j++)
    for (let k = 0; k < j; k++) {
      add((i) => at(j, i) * at(k, i));
      add((i) => at(j, i) ** 2 * at(k, i));
      add((i) => at(j, i) * at(k, i) ** 2);
    }
  return {
    design: standardize(design(observations, blocks.length, Float64Array.from(blocks.flat()))),
    response: centred(Float64Array.from(rows, (row) => 2 * labels[row]! - 1)),
    groups: groupsOfSizes(Array(blocks.length / 3).fill(3)),
  };
}

function drawRows(examples: number, count: number, stream: RandomStream): Int32Array {
  return stream.permutation(examples).subarray(0, count);
}

function centred(values: Float64Array): Float64Array {
  const center = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - center);
}
