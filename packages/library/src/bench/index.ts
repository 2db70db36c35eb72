export { type BenchRow, runSearchBench, type SearchBenchOptions } from "./searchBench.ts";
