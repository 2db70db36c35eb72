import { type GameTree, type Player, realizationPlan, type Strategy } from "@prior-art/toolkit/games";
import { AveragePlan, type PolicyNode, type SelfPlayLearner, sampleAction } from "@prior-art/toolkit/online";

/** Sizes of a player's information-set tree and what follows from them. */
export interface BalancedTree {
  /** A^τ_x, `[infosets]`: actions in the subtree rooted at the set, its own included. */
  readonly subtree: Float64Array;
  /** μ⁰, `[sequences]`: the balanced policy A^τ_{x,a} / A^τ_x. */
  readonly policy: Strategy;
  /** p*_{1:h}, `[infosets]`: product of the balanced transition's probabilities along the path to the set. */
  readonly transition: Float64Array;
}

export interface BalancedTreeOptions {
  /**
   * p* of a root: 1 (`"one"`, as in the released code; default), or its share of all actions, A^τ_x / A_X
   * (`"proportional"`).
   */
  readonly rootPrior?: "one" | "proportional";
}

/** The balanced policy and transition of a player's tree. */
export function balancedTree(
  { forms }: GameTree,
  player: Player,
  { rootPrior = "one" }: BalancedTreeOptions = {},
): BalancedTree {
  const form = forms[player];
  const subtree = new Float64Array(form.infosets.length);
  // A^τ_{x,a} = 1 + Σ over the sets that can follow; at the empty sequence, 1 + the number of all actions.
  const below = new Float64Array(form.sequences).fill(1);
  for (let x = form.infosets.length - 1; x >= 0; x--) {
    const { first, actions, parent } = form.infosets[x]!;
    for (let s = first; s < first + actions.length; s++) subtree[x]! += below[s]!;
    below[parent]! += subtree[x]!;
  }
  const policy = new Float64Array(form.sequences);
  policy[0] = 1;
  const transition = new Float64Array(form.infosets.length);
  form.infosets.forEach(({ first, actions, parent }, x) => {
    for (let s = first; s < first + actions.length; s++) policy[s] = below[s]! / subtree[x]!;
    const share = subtree[x]! / (below[parent]! - 1);
    if (parent === 0) transition[x] = rootPrior === "one" ? 1 : share;
    else transition[x] = transition[form.infosetOf[parent]!]! * share;
  });
  return { subtree, policy, transition };
}

export interface Rates {
  /** η > 0, the learning rate, before it is scaled set by set. */
  readonly eta: number;
  /** γ ≥ 0, implicit exploration, before it is scaled. */
  readonly gamma: number;
}

/** What the learner starts with in an information set. */
interface Start {
  /** μ⁰(·|x), `[actions]`. */
  readonly prior: Float64Array;
  readonly eta: number;
  readonly gamma: number;
}

interface FtrlNode extends PolicyNode {
  /** log μ(·|x). */
  readonly logits: Float64Array;
  /** log μ⁰(·|x). */
  readonly initial: Float64Array;
  eta: number;
  /** γ(x, ·). */
  readonly gamma: Float64Array;
}

type Adapt = (node: FtrlNode, infoset: number, action: number, plan: number) => void;

const nodeFrom = (
  { prior, eta, gamma }: Start,
  parent: FtrlNode | undefined,
  parentAction: number,
): FtrlNode => ({
  policy: prior.slice(),
  planSum: new Float64Array(prior.length),
  parent,
  parentAction,
  logits: prior.map(Math.log),
  initial: prior.map(Math.log),
  eta,
  gamma: new Float64Array(prior.length).fill(gamma),
});

/**
 * Follow the regularized leader under dilated entropy from trajectories: importance-weighted losses with implicit
 * exploration, and the closed-form update along the visited path, O(path · actions) an episode.
 */
function dilatedFtrl(start: (infoset: number, actions: number) => Start, adapt?: Adapt): SelfPlayLearner {
  const table = new AveragePlan<FtrlNode>((infoset, actions, parent, parentAction = 0) =>
    nodeFrom(start(infoset, actions), parent, parentAction),
  );
  return {
    act(infoset, actions, random) {
      return sampleAction(table.find(infoset)?.policy ?? start(infoset, actions).prior, random);
    },
    endEpisode(path, loss) {
      const nodes = table.visit(path);
      const plans = new Float64Array(path.length);
      path.forEach(({ action }, h) => {
        plans[h] = (h === 0 ? 1 : plans[h - 1]!) * nodes[h]!.policy[action]!;
      });
      let value = 0;
      for (let h = path.length - 1; h >= 0; h--) {
        const node = nodes[h]!;
        const { action, infoset } = path[h]!;
        const paid = h === path.length - 1 ? loss : 0;
        const estimate = paid / (plans[h]! + node.gamma[action]!);
        adapt?.(node, infoset, action, plans[h]!);
        value = descend(node, action, estimate - value);
      }
    },
    averagePolicy: () => table.policy(),
  };
}

/** Subtracts η · loss from the played action's logit and normalizes; the set's value log Z / η for its parent. */
function descend({ logits, policy, eta }: FtrlNode, action: number, loss: number): number {
  logits[action]! -= eta * loss;
  let largest = Number.NEGATIVE_INFINITY;
  for (let a = 0; a < logits.length; a++) largest = Math.max(largest, logits[a]!);
  let mass = 0;
  for (let a = 0; a < logits.length; a++) mass += Math.exp(logits[a]! - largest);
  const logZ = largest + Math.log(mass);
  for (let a = 0; a < logits.length; a++) {
    logits[a]! -= logZ;
    policy[a] = Math.exp(logits[a]!);
  }
  return logZ / eta;
}

const uniform = (actions: number): Float64Array => new Float64Array(actions).fill(1 / actions);

function requireRates(name: string, { eta, gamma }: Rates): void {
  if (!(eta > 0 && gamma >= 0 && Number.isFinite(eta) && Number.isFinite(gamma)))
    throw new RangeError(`${name}: needs eta > 0 and gamma ≥ 0, got ${eta} and ${gamma}`);
}

/**
 * Balanced FTRL: the tree of information sets is known. Starts at the balanced policy; rates η / p*_{1:h}(x) and
 * γ / p*_{1:h}(x).
 *
 * @throws RangeError unless η > 0 and γ ≥ 0.
 * @example
 * const tree = gameTree(kuhnPoker());
 * const rates = { eta: 0.01, gamma: 0.0005 };
 * const learners = [balancedFtrl(tree, 0, rates), balancedFtrl(tree, 1, rates)] as const;
 * const checkpoints = [1000, 100_000];
 * for (const { nashConv } of selfPlay(tree, learners, { checkpoints, random: randomStream(0) })) console.log(nashConv);
 */
export function balancedFtrl(
  tree: GameTree,
  player: Player,
  { eta, gamma, rootPrior }: Rates & BalancedTreeOptions,
): SelfPlayLearner {
  requireRates("balancedFtrl", { eta, gamma });
  const { infosets } = tree.forms[player];
  const { policy, transition } = balancedTree(tree, player, { rootPrior: rootPrior ?? "one" });
  return dilatedFtrl((x, actions) => ({
    prior: policy.slice(infosets[x]!.first, infosets[x]!.first + actions),
    eta: eta / transition[x]!,
    gamma: gamma / transition[x]!,
  }));
}

export interface AdaptiveOptions extends Rates {
  /** What P̃ starts at, 1 by default. */
  readonly prior?: number;
  /** Rates are η / P̃^power; 1 by default, 0 leaves them constant (IXOMD), ½ is the authors' "tweaked" variant. */
  readonly power?: number;
}

/**
 * Adaptive FTRL: nothing is known beforehand. Starts uniform and scales the rates of a set by the running estimate P̃ of
 * how often chance and the opponent led there.
 *
 * @throws RangeError unless η > 0, γ ≥ 0 and prior > 0.
 */
export function adaptiveFtrl({ eta, gamma, prior = 1, power = 1 }: AdaptiveOptions): SelfPlayLearner {
  requireRates("adaptiveFtrl", { eta, gamma });
  if (!(prior > 0)) throw new RangeError(`adaptiveFtrl: prior must be positive, got ${prior}`);
  const scaled = prior ** -power;
  /** P̃(x) and P̃(x, ·). */
  const reaches = new Map<FtrlNode, { total: number; readonly actions: Float64Array }>();
  return dilatedFtrl(
    (_, actions) => ({ prior: uniform(actions), eta: eta * scaled, gamma: gamma * scaled }),
    (node, _, action, plan) => {
      let reach = reaches.get(node);
      if (!reach) {
        reach = { total: prior, actions: new Float64Array(node.policy.length).fill(prior) };
        reaches.set(node, reach);
      }
      const increment = 1 / (plan + node.gamma[action]!);
      reach.actions[action]! += increment;
      reach.total += increment / node.policy.length;
      node.gamma[action] = gamma * reach.actions[action]! ** -power;
      const rate = eta * reach.total ** -power;
      // The leader under the new rate: losses so far count η_new/η_old as much.
      const keep = rate / node.eta;
      for (let a = 0; a < node.logits.length; a++)
        node.logits[a] = keep * node.logits[a]! + (1 - keep) * node.initial[a]!;
      node.eta = rate;
    },
  );
}

/**
 * IXOMD (Kozuno et al. 2021), the baseline: the same update with the same rates everywhere, from the uniform policy.
 *
 * @throws RangeError unless η > 0 and γ ≥ 0.
 */
export function ixomd(rates: Rates): SelfPlayLearner {
  requireRates("ixomd", rates);
  return dilatedFtrl((_, actions) => ({ prior: uniform(actions), ...rates }));
}

/**
 * Balanced OMD (Bai et al. 2022), the baseline that knows the tree: from the uniform policy, with rates multiplied by
 * the plan of the policy that is balanced towards the sets of the same depth (per set, its last action uniform).
 *
 * @throws RangeError unless η > 0 and γ ≥ 0.
 */
export function balancedOmd(tree: GameTree, player: Player, { eta, gamma }: Rates): SelfPlayLearner {
  requireRates("balancedOmd", { eta, gamma });
  const weights = balancedExploration(tree, player);
  return dilatedFtrl((x, actions) => ({
    prior: uniform(actions),
    eta: eta * weights[x]!,
    gamma: gamma * weights[x]!,
  }));
}

/** Balanced exploration plans μ^{*,h}_{1:h}(x, ·) of Bai et al. 2022, `[infosets]`; h is the set's own depth. */
export function balancedExploration({ forms }: GameTree, player: Player): Float64Array {
  const form = forms[player];
  const depth = new Int32Array(form.infosets.length);
  form.infosets.forEach(({ parent }, x) => {
    depth[x] = parent === 0 ? 0 : depth[form.infosetOf[parent]!]! + 1;
  });
  const weights = new Float64Array(form.infosets.length);
  for (let h = 0; depth.includes(h); h++) {
    // Actions of depth h under each sequence; the strategy goes where they are.
    const count = new Float64Array(form.sequences);
    const strategy = new Float64Array(form.sequences);
    strategy[0] = 1;
    for (let x = form.infosets.length - 1; x >= 0; x--) {
      const { first, actions, parent } = form.infosets[x]!;
      if (depth[x] === h) count.fill(1, first, first + actions.length);
      let total = 0;
      for (let s = first; s < first + actions.length; s++) total += count[s]!;
      for (let s = first; s < first + actions.length; s++)
        strategy[s] = total > 0 ? count[s]! / total : 1 / actions.length;
      count[parent]! += total;
    }
    const plan = realizationPlan(form, strategy);
    form.infosets.forEach(({ first }, x) => {
      if (depth[x] === h) weights[x] = plan[first]!;
    });
  }
  return weights;
}
