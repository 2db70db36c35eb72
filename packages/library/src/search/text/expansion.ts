import { stemsOf } from "./terms.ts";
import type { WeightedStem } from "./textIndex.ts";

/**
 * Expressions of the field that mean nearly the same, one group a line. A reader's word finds papers that use
 * another word of its group.
 */
const GROUPS = `
  LLM | large language model | language model | chatbot | assistant
  RLHF | human feedback | preference alignment
  RL | reinforcement learning
  RLVR | verifiable reward
  SFT | supervised fine-tuning
  DPO | direct preference optimization
  KL | Kullback-Leibler | divergence penalty
  CFG | classifier-free guidance
  LoRA | low-rank adapter | low-rank adaptation
  PEFT | parameter-efficient fine-tuning
  MDP | Markov decision process
  OOD | out-of-distribution | distribution shift
  SGD | stochastic gradient descent
  GD | gradient descent
  BN | batch norm | batch normalization
  OT | optimal transport
  GAN | generative adversarial network
  VAE | variational autoencoder
  MoE | mixture of experts
  DRO | distributionally robust
  PDE | partial differential equation | differential equation | physics
  ICNN | input convex neural network
  noisy label | wrong label | incorrect label | mislabeled | corrupted label | label noise
  overfit | memorize | memorization
  forget | forgetting | catastrophic forgetting
  overconfident | confidence | calibration | miscalibrated
  reward hacking | over-optimization | overoptimization
  toxic | toxicity | detoxification | harmful
  refuse | safety | dangerous | unsafe
  repeat | repetition | repetitive
  step size | learning rate | line search
  penalty | regularization | regularizer
  hyperparameter | tuning
  flat minimum | sharpness | flatness
  sparse | sparsity | few features
  prune | pruning | compress | compression
  grokking | delayed generalization | sudden generalization
  self-play | play against itself
  imitation | demonstration | behavior cloning
  offline | logged data | recorded data | fixed dataset
  recommender | recommendation | recommend
  federated | decentralized | private client data
  medical | clinical | hospital | patient
  explain | attribution | saliency | interpretability
  unlearn | unlearning | remove a concept
  adversarial attack | perturbation | PGD
  spurious correlation | shortcut | background | minority group
  unseen environment | new level | unseen level | zero-shot transfer | domain generalization
  memory | GPU memory | memory-efficient
  second order | Hessian | Newton | curvature
  worker | node | distributed training | Byzantine
  corrupted | faulty | Byzantine
  picture | image | photo
  people like | human preference
  drone | robot | agent
  car | vehicle | traffic | road
  chain of thought | reasoning
  entropy collapse | exploration collapse | premature convergence
  long horizon | multi-turn | many turns
  masked | fill in | inpainting
  curriculum | level sampling
  bandit | contextual bandit
  self-distillation | own predictions as targets
  soft target | label smoothing
  importance weight | importance sampling | propensity
  coverage | prediction interval | prediction set | conformal
  covariate shift | shifted distribution
`;

/** Fewer than a typed word, so that a synonym never outranks the word itself. */
const SYNONYM_WEIGHT = 0.35;

interface Synonym {
  readonly phrase: readonly string[];
  readonly alternatives: readonly (readonly string[])[];
}

const synonyms: Map<string, Synonym[]> = buildSynonyms();

function buildSynonyms(): Map<string, Synonym[]> {
  const byFirstStem = new Map<string, Synonym[]>();
  for (const line of GROUPS.trim().split("\n")) {
    const phrases = line.split("|").map(stemsOf);
    for (const phrase of phrases) {
      const first = phrase[0];
      if (first === undefined) continue;
      const alternatives = phrases.filter((other) => other !== phrase);
      byFirstStem.set(first, [...(byFirstStem.get(first) ?? []), { phrase, alternatives }]);
    }
  }
  return byFirstStem;
}

/**
 * Adds the synonyms of a query's expressions, each with a fraction of a typed word's weight.
 *
 * @param stems the query in order
 * @returns typed words with weight 1 and synonyms with less; every stem once
 */
export function expand(stems: readonly string[]): WeightedStem[] {
  const weights = new Map<string, number>(stems.map((stem) => [stem, 1]));
  stems.forEach((stem, position) => {
    for (const { phrase, alternatives } of synonyms.get(stem) ?? []) {
      if (!phrase.every((word, offset) => stems[position + offset] === word)) continue;
      for (const alternative of alternatives) {
        const weight = SYNONYM_WEIGHT / alternative.length;
        for (const word of alternative) weights.set(word, Math.max(weights.get(word) ?? 0, weight));
      }
    }
  });
  return [...weights].map(([stem, weight]) => ({ stem, weight }));
}
