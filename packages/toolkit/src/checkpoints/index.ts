export {
  type Checkpoint,
  type CheckpointOptions,
  type CheckpointRecipe,
  type CheckpointStore,
  checkpoint,
  checkpointFile,
} from "./checkpoint.ts";
export {
  decodeSafetensors,
  encodeSafetensors,
  InvalidCheckpointError,
  type SafetensorsFile,
  type StoredArray,
  toTensor,
} from "./safetensors.ts";
export { decodeTree, encodeTree } from "./treeFile.ts";
