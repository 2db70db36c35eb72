import type { Game } from "./game.ts";

interface KuhnState {
  readonly cards: readonly number[];
  /** `p` for pass (check or fold), `b` for bet (or call). */
  readonly history: string;
}

const FINAL = ["pp", "bp", "bb", "pbp", "pbb"];

/**
 * Kuhn poker (1950): cards 0 < 1 < 2, ante 1, one bet of 1. Player 0's value is −1/18. Labels are the card and the
 * history, e.g. `"2:pb"`; actions are pass and bet. 12 information sets.
 */
export function kuhnPoker(): Game<KuhnState> {
  return {
    name: "Kuhn poker",
    initial: () => ({ cards: [], history: "" }),
    turn({ cards, history }) {
      if (cards.length < 2) {
        const left = 3 - cards.length;
        return { kind: "chance", probabilities: new Array<number>(left).fill(1 / left) };
      }
      if (FINAL.includes(history)) return { kind: "terminal", utility: utility(cards, history) };
      const player = (history.length % 2) as 0 | 1;
      return { kind: "decision", player, infoset: `${cards[player]}:${history}`, actions: ["pass", "bet"] };
    },
    next({ cards, history }, action) {
      if (cards.length === 2) return { cards, history: history + (action === 0 ? "p" : "b") };
      return { cards: [...cards, [0, 1, 2].filter((card) => !cards.includes(card))[action]!], history };
    },
  };
}

function utility(cards: readonly number[], history: string): number {
  if (history === "bp") return 1;
  if (history === "pbp") return -1;
  return (cards[0]! > cards[1]! ? 1 : -1) * (history === "pp" ? 1 : 2);
}
