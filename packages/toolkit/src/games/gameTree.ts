import type { Game, Player } from "./game.ts";

/** An information set of one player. */
export interface InformationSet {
  readonly label: string;
  readonly actions: readonly string[];
  /** The player's own last sequence before it, 0 when it has not acted yet. */
  readonly parent: number;
  /** The sequence of its first action; those of the others follow. */
  readonly first: number;
}

/**
 * One player's decision problem in sequence form (von Stengel 1996). A sequence is an information set with one of its
 * actions; sequence 0 is the empty one. Parents come before children in both lists.
 */
export interface SequenceForm {
  readonly infosets: readonly InformationSet[];
  /** Number of sequences, the empty one included. */
  readonly sequences: number;
  /** `[sequences]`: the information set of a sequence, −1 for the empty one. */
  readonly infosetOf: Int32Array;
}

/** What `mover` holds besides the players 0 and 1. */
export const TERMINAL = -1;
export const CHANCE = -2;

/** A game unfolded into flat arrays; node 0 is the root, the children of a node are consecutive. */
export interface GameTree {
  readonly name: string;
  /** `[nodes]`: the player to move, `CHANCE` or `TERMINAL`. */
  readonly mover: Int8Array;
  /** `[nodes]`: the mover's information set, −1 where nobody decides. */
  readonly infoset: Int32Array;
  readonly firstChild: Int32Array;
  readonly children: Int32Array;
  /** `[nodes]`: probability with which chance moves to the node from its parent, 1 after a decision. */
  readonly probability: Float64Array;
  /** `[nodes]`: player 0's utility at terminal nodes, else 0. */
  readonly utility: Float64Array;
  readonly forms: readonly [SequenceForm, SequenceForm];
  /** Terminal nodes as the entries of the sequence-form payoff matrix. */
  readonly payoffs: {
    /** `[2][terminals]`: each player's last sequence. */
    readonly sequences: readonly [Int32Array, Int32Array];
    /** `[terminals]`: player 0's utility times chance's probability of the path. */
    readonly weighted: Float64Array;
  };
  /** Smallest and largest utility of player 0. */
  readonly minUtility: number;
  readonly maxUtility: number;
}

interface OpenNode<State> {
  readonly state: State;
  readonly reach: number;
  readonly last: readonly [number, number];
}

/**
 * Unfolds a game.
 *
 * @throws RangeError when a player forgets its own past (no perfect recall), an information set has differing actions,
 *   chance's probabilities don't sum to 1, a utility is not finite, or the tree has more than `maxNodes` nodes (2²² by
 *   default).
 */
export function gameTree<State>(game: Game<State>, { maxNodes = 2 ** 22 } = {}): GameTree {
  const open: OpenNode<State>[] = [{ state: game.initial(), reach: 1, last: [0, 0] }];
  const mover: number[] = [];
  const infoset: number[] = [];
  const firstChild: number[] = [];
  const children: number[] = [];
  const utility: number[] = [];
  const probability = [1];
  const builders = [new FormBuilder(game.name, 0), new FormBuilder(game.name, 1)] as const;
  const terminals: { last: readonly [number, number]; weighted: number }[] = [];
  // Breadth first: open nodes double as the list of all nodes, so children are consecutive and parents come first.
  for (let node = 0; node < open.length; node++) {
    const { state, reach, last } = open[node]!;
    const turn = game.turn(state);
    infoset.push(-1);
    utility.push(0);
    firstChild.push(open.length);
    children.push(0);
    const grow = (action: number, chance: number, sequences: readonly [number, number]): void => {
      open.push({ state: game.next(state, action), reach: reach * chance, last: sequences });
      probability.push(chance);
      children[node]!++;
    };
    if (turn.kind === "terminal") {
      if (!Number.isFinite(turn.utility))
        throw new RangeError(`${game.name}: a utility is ${turn.utility}, not a finite number`);
      mover.push(TERMINAL);
      utility[node] = turn.utility;
      terminals.push({ last, weighted: reach * turn.utility });
    } else if (turn.kind === "chance") {
      const total = turn.probabilities.reduce((sum, p) => sum + p, 0);
      if (!(Math.abs(total - 1) < 1e-9 && turn.probabilities.every((p) => p >= 0)))
        throw new RangeError(`${game.name}: chance's probabilities are ${turn.probabilities.join(", ")}`);
      mover.push(CHANCE);
      turn.probabilities.forEach((p, action) => {
        grow(action, p, last);
      });
    } else {
      const { player, actions } = turn;
      mover.push(player);
      infoset[node] = builders[player].visit(turn.infoset, actions, last[player]);
      const { first } = builders[player].infosets[infoset[node]!]!;
      actions.forEach((_, action) => {
        grow(action, 1, player === 0 ? [first + action, last[1]] : [last[0], first + action]);
      });
    }
    if (open.length > maxNodes)
      throw new RangeError(`${game.name}: the tree has more than ${maxNodes} nodes`);
  }
  const ends = utility.filter((_, node) => mover[node] === TERMINAL);
  return {
    name: game.name,
    mover: Int8Array.from(mover),
    infoset: Int32Array.from(infoset),
    firstChild: Int32Array.from(firstChild),
    children: Int32Array.from(children),
    probability: Float64Array.from(probability),
    utility: Float64Array.from(utility),
    forms: [builders[0].form(), builders[1].form()],
    payoffs: {
      sequences: [
        Int32Array.from(terminals, ({ last }) => last[0]),
        Int32Array.from(terminals, ({ last }) => last[1]),
      ],
      weighted: Float64Array.from(terminals, ({ weighted }) => weighted),
    },
    minUtility: ends.reduce((a, b) => Math.min(a, b)),
    maxUtility: ends.reduce((a, b) => Math.max(a, b)),
  };
}

class FormBuilder {
  readonly infosets: InformationSet[] = [];
  private readonly numbers = new Map<string, number>();
  private readonly owners = [-1];
  private readonly game: string;
  private readonly player: Player;

  constructor(game: string, player: Player) {
    this.game = game;
    this.player = player;
  }

  visit(label: string, actions: readonly string[], parent: number): number {
    const known = this.numbers.get(label);
    if (known !== undefined) {
      this.requireSame(this.infosets[known]!, actions, parent);
      return known;
    }
    if (actions.length === 0) throw new RangeError(`${this.game}: information set "${label}" has no actions`);
    const number = this.infosets.length;
    this.numbers.set(label, number);
    this.infosets.push({ label, actions, parent, first: this.owners.length });
    for (let i = 0; i < actions.length; i++) this.owners.push(number);
    return number;
  }

  form(): SequenceForm {
    const { infosets, owners } = this;
    return { infosets, sequences: owners.length, infosetOf: Int32Array.from(owners) };
  }

  private requireSame(known: InformationSet, actions: readonly string[], parent: number): void {
    const where = `${this.game}: information set "${known.label}" of player ${this.player}`;
    if (known.actions.join("\n") !== actions.join("\n"))
      throw new RangeError(`${where} has the actions ${known.actions} in one state, ${actions} in another`);
    if (known.parent !== parent)
      throw new RangeError(`${where} follows different actions of its player: that is not perfect recall`);
  }
}
