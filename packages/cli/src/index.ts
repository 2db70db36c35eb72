export type { BenchRow, BenchSuite } from "./commands/bench.ts";
export { main } from "./main.ts";
