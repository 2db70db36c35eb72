import { CHANCE, type GameTree, nashConv, type Profile, TERMINAL } from "../games/index.ts";
import type { RandomStream } from "../stats/index.ts";
import { type Decision, type SelfPlayLearner, strategyOfPolicy } from "./learner.ts";

export interface SelfPlayPoint {
  /** Episodes played so far. */
  readonly episode: number;
  /** Of the average policies. */
  readonly nashConv: number;
  readonly profile: Profile;
}

/** One episode: the terminal node reached; `paths` are emptied and filled with each player's decisions. */
export function playEpisode(
  tree: GameTree,
  learners: readonly [SelfPlayLearner, SelfPlayLearner],
  random: RandomStream,
  paths: readonly [Decision[], Decision[]],
): number {
  paths[0].length = 0;
  paths[1].length = 0;
  let node = 0;
  for (;;) {
    const mover = tree.mover[node]!;
    if (mover === TERMINAL) return node;
    const actions = tree.children[node]!;
    const first = tree.firstChild[node]!;
    if (mover === CHANCE) {
      let left = random.uniform();
      let action = 0;
      while (action < actions - 1 && (left -= tree.probability[first + action]!) >= 0) action++;
      node = first + action;
    } else {
      const infoset = tree.infoset[node]!;
      const action = learners[mover as 0 | 1].act(infoset, actions, random);
      paths[mover as 0 | 1].push({ infoset, actions, action });
      node = first + action;
    }
  }
}

/**
 * Two learners play each other; each sees its own decisions and its loss (u_max − u)/(u_max − u_min). Yields at the
 * checkpoints, which are episode counts in growing order.
 */
export function* selfPlay(
  tree: GameTree,
  learners: readonly [SelfPlayLearner, SelfPlayLearner],
  { checkpoints, random }: { readonly checkpoints: readonly number[]; readonly random: RandomStream },
): Generator<SelfPlayPoint, void, void> {
  const paths: [Decision[], Decision[]] = [[], []];
  const range = tree.maxUtility - tree.minUtility || 1;
  let episode = 0;
  for (const checkpoint of checkpoints) {
    for (; episode < checkpoint; episode++) {
      const end = playEpisode(tree, learners, random, paths);
      const loss = (tree.maxUtility - tree.utility[end]!) / range;
      learners[0].endEpisode(paths[0], loss);
      learners[1].endEpisode(paths[1], 1 - loss);
    }
    const profile: Profile = [
      strategyOfPolicy(tree.forms[0], learners[0].averagePolicy()),
      strategyOfPolicy(tree.forms[1], learners[1].averagePolicy()),
    ];
    yield { episode, nashConv: nashConv(tree, profile), profile };
  }
}
