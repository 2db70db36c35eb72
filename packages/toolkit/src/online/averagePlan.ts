import type { RandomStream } from "../stats/index.ts";
import type { Decision } from "./learner.ts";

/** What a self-play learner remembers about an information set. */
export interface PolicyNode {
  /** `[actions]`: the current policy. */
  readonly policy: Float64Array;
  /** `[actions]`: sum of the realization plans of the episodes accounted for. */
  readonly planSum: Float64Array;
  readonly parent: PolicyNode | undefined;
  readonly parentAction: number;
}

/**
 * A table of the information sets met so far whose plans are averaged lazily: a set's policy changes only when it is
 * visited, so the plan mass that arrived since can be handed on at the next visit, in time of the path's length.
 */
export class AveragePlan<Node extends PolicyNode> {
  private readonly nodes: (Node | undefined)[] = [];
  private readonly order: number[] = [];
  private episodes = 0;
  private readonly create: (infoset: number, actions: number, parent?: Node, parentAction?: number) => Node;

  constructor(create: (infoset: number, actions: number, parent?: Node, parentAction?: number) => Node) {
    this.create = create;
  }

  find(infoset: number): Node | undefined {
    return this.nodes[infoset];
  }

  /** Counts an episode and accounts for the plans up to it, policies being those that it was played with. */
  visit(path: readonly Decision[]): Node[] {
    this.episodes++;
    const visited: Node[] = [];
    let parent: Node | undefined;
    let parentAction = 0;
    for (const { infoset, actions, action } of path) {
      let node = this.nodes[infoset];
      if (!node) {
        node = this.create(infoset, actions, parent, parentAction);
        this.nodes[infoset] = node;
        this.order.push(infoset);
      }
      this.account(node);
      visited.push(node);
      parent = node;
      parentAction = action;
    }
    return visited;
  }

  /** The average policy of every set met so far; sets were met parents first. */
  policy(): Map<number, Float64Array> {
    const result = new Map<number, Float64Array>();
    for (const infoset of this.order) {
      const node = this.nodes[infoset]!;
      this.account(node);
      const total = node.planSum.reduce((a, b) => a + b, 0);
      result.set(infoset, total > 0 ? node.planSum.map((p) => p / total) : node.policy.slice());
    }
    return result;
  }

  private account({ policy, planSum, parent, parentAction }: PolicyNode): void {
    let mass = parent ? parent.planSum[parentAction]! : this.episodes;
    for (let a = 0; a < planSum.length; a++) mass -= planSum[a]!;
    // Rounding can leave a speck below zero where nothing arrived.
    if (mass > 0) for (let a = 0; a < planSum.length; a++) planSum[a]! += mass * policy[a]!;
  }
}

/** Draws from probabilities that sum to 1. */
export function sampleAction(probabilities: Float64Array, random: RandomStream): number {
  let left = random.uniform();
  let action = 0;
  while (action < probabilities.length - 1 && (left -= probabilities[action]!) >= 0) action++;
  return action;
}
