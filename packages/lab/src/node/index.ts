export { codeVersion, thisEnvironment } from "./environment.ts";
export { fileStore, readResults, writeAtomically, writeResults } from "./files.ts";
export { type ReproductionOptions, reproductionFiles, runReproduction } from "./reproduction.ts";
export {
  familyResults,
  roomResults,
  type Standing,
  savedResultsPath,
  standing,
  standings,
} from "./standing.ts";
export { type ThreadPool, threadPool } from "./threads.ts";
