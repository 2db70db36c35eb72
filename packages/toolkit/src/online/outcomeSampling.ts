import type { Player } from "../games/index.ts";
import { AveragePlan, type PolicyNode, sampleAction } from "./averagePlan.ts";
import type { SelfPlayLearner } from "./learner.ts";

interface RegretNode extends PolicyNode {
  readonly regret: Float64Array;
}

/**
 * Outcome-sampling Monte Carlo counterfactual regret minimization (Lanctot et al. 2009) from a player's own
 * trajectories: players explore and learn in turn, one an episode, while the other plays its current policy, so that no
 * probabilities of the opponent are needed.
 *
 * @param exploration ε in (0, 1]: share of uniform play in the episodes in which this player learns.
 * @throws RangeError on an exploration outside (0, 1].
 */
export function outcomeSamplingMccfr({
  player,
  exploration,
}: {
  readonly player: Player;
  readonly exploration: number;
}): SelfPlayLearner {
  if (!(exploration > 0 && exploration <= 1))
    throw new RangeError(`outcomeSamplingMccfr: exploration must be in (0, 1], got ${exploration}`);
  const table = new AveragePlan<RegretNode>((_, actions, parent, parentAction = 0) => ({
    policy: new Float64Array(actions).fill(1 / actions),
    planSum: new Float64Array(actions),
    regret: new Float64Array(actions),
    parent,
    parentAction,
  }));
  let learns = player === 0;
  return {
    act(infoset, actions, random) {
      const node = table.find(infoset);
      if (!node || (learns && random.uniform() < exploration)) return random.integer(actions);
      return sampleAction(node.policy, random);
    },
    endEpisode(path, loss) {
      const nodes = table.visit(path);
      if (learns) {
        let sampled = 1;
        path.forEach(({ action, actions }, i) => {
          sampled *= exploration / actions + (1 - exploration) * nodes[i]!.policy[action]!;
        });
        // Zero-sum utility in [−1, 1], weighted by the inverse probability of this player's own actions.
        const weighted = (1 - 2 * loss) / sampled;
        let tail = 1;
        for (let i = path.length - 1; i >= 0; i--) {
          const { policy, regret } = nodes[i]!;
          const { action } = path[i]!;
          const after = tail;
          tail *= policy[action]!;
          for (let a = 0; a < regret.length; a++)
            regret[a]! += weighted * ((a === action ? after : 0) - tail);
          matchRegrets(policy, regret);
        }
      }
      learns = !learns;
    },
    averagePolicy: () => table.policy(),
  };
}

/** Probabilities in proportion to positive regrets, uniform where there are none. */
function matchRegrets(policy: Float64Array, regret: Float64Array): void {
  let total = 0;
  for (let a = 0; a < regret.length; a++) total += Math.max(0, regret[a]!);
  for (let a = 0; a < policy.length; a++)
    policy[a] = total > 0 ? Math.max(0, regret[a]!) / total : 1 / policy.length;
}
