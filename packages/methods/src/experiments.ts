/**
 * What loads the papers' experiments, by slug, and the families' shared tasks (an experiment whose arms are the family's
 * methods and baselines). Each is loaded when asked for, and nothing about the papers comes with it.
 */
export { experiments, tasks } from "./experiments.generated.ts";
