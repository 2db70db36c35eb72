export { mapPaths } from "../optim/treePaths.ts";
export {
  type Adapter,
  denseWeights,
  fullFineTuning,
  type LoraFactors,
  type LoraOptions,
  lora,
  loraScale,
  type MatrixAdapterOptions,
  matrixAdapter,
  type WeightChoice,
} from "./adapters.ts";
export { dirichlet } from "./dirichlet.ts";
export { type FineTuned, type FineTuningOptions, fineTune } from "./fineTuning.ts";
export { type Gpt2Checkpoint, type Gpt2Options, loadGpt2, saveGpt2 } from "./gpt2.ts";
export * from "./logProbabilities.ts";
export {
  drawFrom,
  type MarkovSource,
  type MarkovSourceOptions,
  markovSource,
  markovSourceFrom,
} from "./markovSource.ts";
export * from "./policyObjectives.ts";
export {
  type PolicyRound,
  type PolicyTrainingOptions,
  type SampledTexts,
  trainPolicy,
} from "./policyTraining.ts";
export * from "./preferences.ts";
export { type PreferenceTrainingOptions, trainPreferences } from "./preferenceTraining.ts";
export {
  type Completions,
  completionLengths,
  filterLogits,
  type SamplingOptions,
  sampleCompletions,
  type TokenFilter,
} from "./sampling.ts";
export {
  lossOn,
  nextTokenLoss,
  type SequenceBatch,
  type SequenceLoss,
  type TextBatch,
} from "./sequenceLosses.ts";
export {
  type AdditionOptions,
  additionTask,
  type ModularSumOptions,
  modularSumTask,
} from "./tasks/arithmetic.ts";
export { type BracketOptions, bracketTask } from "./tasks/brackets.ts";
export { type MazeOptions, mazeTask } from "./tasks/maze.ts";
export { type SortingOptions, sortingTask } from "./tasks/sorting.ts";
export {
  type EncodedExamples,
  encodeExamples,
  type TaskExample,
  type VerifiableTask,
  verifyCompletions,
} from "./tasks/task.ts";
export { type CharacterTokenizer, characterTokenizer } from "./tokenizers/character.ts";
export { GPT2_END_OF_TEXT, gpt2Tokenizer } from "./tokenizers/gpt2Tokenizer.ts";
export type { Tokenizer } from "./tokenizers/tokenizer.ts";
export { decoder, type TokenModel, type Transformer } from "./tokenModel.ts";
export * from "./tokenProcess.ts";
export {
  sampleWindows,
  type WindowBatch,
  type WindowModelOptions,
  type WindowModelParams,
  windowModel,
} from "./windowModel.ts";
