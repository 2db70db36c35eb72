import type { Guidance } from "@prior-art/toolkit/diffusion";

export type {
  Denoiser,
  DiffusionLoss,
  Guidance,
  GuidedStep,
} from "@prior-art/toolkit/diffusion";

export type Hyperparameters = Readonly<Record<string, number>>;

/** What a room provides to enter the family's shared task: a way to guide a pretrained denoiser. */
export interface Contender {
  /** Name in tables. */
  readonly label: string;
  /** Candidates of the hyperparameters, the scale among them. */
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  // biome-ignore lint/suspicious/noExplicitAny: each guidance keeps a memory of its own type
  readonly guidance: (hyperparameters: Hyperparameters) => Guidance<any>;
}
