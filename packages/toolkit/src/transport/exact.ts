import { matrix } from "../linalg/index.ts";
import { describePlan, requireProblem, type TransportPlan, type TransportProblem } from "./problem.ts";

/**
 * Exact transport by successive shortest augmenting paths: each source's mass goes, path after path, to the nearest target
 * with room, where the distance of a path counts what it reroutes. With equal masses this is the Hungarian method, O(n³).
 *
 * The plan has at most m + n − 1 entries that are not zero, and the potentials prove it optimal: `f_i + g_j ≤ C_ij`, with
 * equality wherever mass moves.
 *
 * @throws RangeError when the problem does not fit together.
 */
export function exactTransport(problem: TransportProblem): TransportPlan {
  requireProblem("exactTransport", problem);
  const { cost, source, target } = problem;
  const { rows: m, columns: n, values: c } = cost;
  const flow = new Float64Array(m * n);
  const room = target.slice();
  const f = new Float64Array(m);
  const g = new Float64Array(n);
  for (let j = 0; j < n; j++) {
    g[j] = Number.POSITIVE_INFINITY;
    for (let i = 0; i < m; i++) g[j] = Math.min(g[j]!, c[i * n + j]!);
  }
  /** Sources that send mass to each target. */
  const senders: number[][] = Array.from({ length: n }, () => []);
  const rowDistance = new Float64Array(m);
  const distance = new Float64Array(n);
  const fromRow = new Int32Array(n);
  const fromColumn = new Int32Array(m);
  const done = new Uint8Array(n);
  // Masses below this are rounding: a path that moved so little would change nothing.
  const dust = 1e-13 * source.reduce((sum, mass) => sum + mass, 0);
  let iterations = 0;

  for (let s = 0; s < m; s++) {
    let supply = source[s]!;
    while (supply > dust) {
      iterations++;
      distance.fill(Number.POSITIVE_INFINITY);
      done.fill(0);
      rowDistance.fill(Number.POSITIVE_INFINITY);
      fromColumn[s] = -1;
      rowDistance[s] = 0;
      const reached: number[] = [];
      let end = -1;
      let row = s;
      /** Rows whose turn has come, all at the current distance. */
      const open: number[] = [];
      for (;;) {
        for (;;) {
          const base = rowDistance[row]! - f[row]!;
          for (let j = 0, at = row * n; j < n; j++, at++) {
            if (done[j]) continue;
            const through = base + c[at]! - g[j]!;
            if (through < distance[j]!) {
              distance[j] = through;
              fromRow[j] = row;
            }
          }
          const next = open.pop();
          if (next === undefined) break;
          row = next;
        }
        let nearest = -1;
        let shortest = Number.POSITIVE_INFINITY;
        for (let j = 0; j < n; j++)
          if (
            !done[j] &&
            (distance[j]! < shortest ||
              (distance[j] === shortest && nearest >= 0 && room[nearest]! <= dust && room[j]! > dust))
          ) {
            shortest = distance[j]!;
            nearest = j;
          }
        if (nearest < 0) break;
        done[nearest] = 1;
        reached.push(nearest);
        if (room[nearest]! > dust) {
          end = nearest;
          break;
        }
        for (const i of senders[nearest]!)
          if (rowDistance[i] === Number.POSITIVE_INFINITY) {
            // Mass moves along arcs of zero reduced cost, so going back is free.
            rowDistance[i] = shortest;
            fromColumn[i] = nearest;
            open.push(i);
          }
        row = open.pop() ?? row;
      }
      // Only rounding is left without room.
      if (end < 0) break;
      const length = distance[end]!;
      for (let i = 0; i < m; i++) if (rowDistance[i]! < length) f[i]! += length - rowDistance[i]!;
      for (const j of reached) g[j]! -= length - distance[j]!;
      let amount = Math.min(supply, room[end]!);
      for (let j = end; fromColumn[fromRow[j]!]! >= 0; j = fromColumn[fromRow[j]!]!) {
        const i = fromRow[j]!;
        amount = Math.min(amount, flow[i * n + fromColumn[i]!]!);
      }
      for (let j = end; ; ) {
        const i = fromRow[j]!;
        if (flow[i * n + j] === 0) senders[j]!.push(i);
        flow[i * n + j]! += amount;
        const back = fromColumn[i]!;
        if (back < 0) break;
        flow[i * n + back]! -= amount;
        if (flow[i * n + back]! <= dust) {
          flow[i * n + back] = 0;
          senders[back]!.splice(senders[back]!.indexOf(i), 1);
        }
        j = back;
      }
      room[end]! -= amount;
      supply -= amount;
    }
  }
  return describePlan(problem, matrix(m, n, flow), {
    iterations,
    converged: true,
    potentials: { source: f, target: g },
  });
}
