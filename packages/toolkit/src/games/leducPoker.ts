import type { Game, Player } from "./game.ts";

interface LeducState {
  /** Private cards of the players, then the public one; the rank is half the card, rounded down. */
  readonly cards: readonly number[];
  /** Betting so far, rounds separated by `/`: `c` check or call, `r` bet or raise, `f` fold. */
  readonly history: string;
  readonly round: number;
  readonly mover: Player;
  /** Chips put in by each player. */
  readonly pot: readonly [number, number];
  /** Bets and raises in this round. */
  readonly raises: number;
  /** Moves made in this round. */
  readonly moves: number;
  readonly folded?: Player;
}

const BET = [2, 4];
const MAX_RAISES = 2;
const rank = (card: number): number => Math.floor(card / 2);

/** Legal moves as letters: no folding without a bet to answer, no third raise. */
const legal = ({ pot, raises }: LeducState): string[] => [
  ...(pot[0] === pot[1] ? [] : ["f"]),
  "c",
  ...(raises < MAX_RAISES ? ["r"] : []),
];

const NAMES: Readonly<Record<string, string>> = { f: "fold", c: "call", r: "raise" };

/**
 * Leduc poker (Southey et al. 2005): six cards of three ranks, ante 1, two betting rounds with bets of 2 and 4 and at
 * most two raises each, a public card between them; a pair beats the higher card. Player 0's value is about −0.0856.
 * Labels are rank, public rank and history, e.g. `"2|0:cc/r"`. 936 information sets in all, suits being told apart by
 * nobody: 288 without them.
 */
export function leducPoker(): Game<LeducState> {
  return {
    name: "Leduc poker",
    initial: () => ({ cards: [], history: "", round: 0, mover: 0, pot: [1, 1], raises: 0, moves: 0 }),
    turn(state) {
      const { cards, round, mover, history, folded } = state;
      if (folded !== undefined) {
        const lost = state.pot[folded];
        return { kind: "terminal", utility: folded === 0 ? -lost : lost };
      }
      if (cards.length < 2 + Math.min(round, 1)) {
        const left = 6 - cards.length;
        return { kind: "chance", probabilities: new Array<number>(left).fill(1 / left) };
      }
      if (round === 2) return { kind: "terminal", utility: showdown(state) };
      const open = round === 1 ? `|${rank(cards[2]!)}` : "";
      return {
        kind: "decision",
        player: mover,
        infoset: `${rank(cards[mover]!)}${open}:${history}`,
        actions: legal(state).map((move) => NAMES[move]!),
      };
    },
    next(state, action) {
      const { cards, round } = state;
      if (cards.length < 2 + Math.min(round, 1)) {
        const deck = [0, 1, 2, 3, 4, 5].filter((card) => !cards.includes(card));
        return { ...state, cards: [...cards, deck[action]!] };
      }
      return bet(state, legal(state)[action]!);
    },
  };
}

function bet(state: LeducState, move: string): LeducState {
  const { mover, pot, round, raises, moves } = state;
  const history = state.history + move;
  if (move === "f") return { ...state, history, folded: mover };
  const other: Player = mover === 0 ? 1 : 0;
  const paid = pot[other] + (move === "r" ? BET[round]! : 0);
  const next: LeducState = {
    ...state,
    history,
    mover: other,
    pot: mover === 0 ? [paid, pot[1]] : [pot[0], paid],
    raises: raises + (move === "r" ? 1 : 0),
    moves: moves + 1,
  };
  if (move === "r" || next.moves < 2) return next;
  return { ...next, history: `${history}/`, round: round + 1, mover: 0, raises: 0, moves: 0 };
}

function showdown({ cards, pot }: LeducState): number {
  const [mine, theirs, open] = cards.map(rank) as [number, number, number];
  if (mine === theirs) return 0;
  const iWin = mine === open || (theirs !== open && mine > theirs);
  return iWin ? pot[1] : -pot[0];
}
