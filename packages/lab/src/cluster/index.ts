export { type ClusterExecutorOptions, clusterExecutor } from "./clusterExecutor.ts";
export { ServerUnreachableError } from "./connection.ts";
export {
  defaultTimes,
  type ExperimentReference,
  type FailureKind,
  type FailureLimits,
  type Outcome,
  type QueueOptions,
  type QueueStatus,
  type QueueTimes,
  type TakenUnit,
  type UnitOrder,
  UnitQueue,
  unitKey,
} from "./unitQueue.ts";
export { locateExperiment, runWorker, type WorkerOptions } from "./worker.ts";
