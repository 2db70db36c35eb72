import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bestResponse, deviationGain, exploitability, nashConv } from "./bestResponse.ts";
import { cfrPlus } from "./cfrPlus.ts";
import type { Game } from "./game.ts";
import { type GameTree, gameTree, type SequenceForm } from "./gameTree.ts";
import { kuhnPoker } from "./kuhnPoker.ts";
import { leducPoker } from "./leducPoker.ts";
import { matrixGame } from "./matrixGame.ts";
import {
  behaviorStrategy,
  expectedUtility,
  type Profile,
  realizationPlan,
  type Strategy,
  strategyFrom,
  uniformProfile,
} from "./strategies.ts";

const kuhn = gameTree(kuhnPoker());
const leduc = gameTree(leducPoker());

/** A strategy from arbitrary positive numbers, taken round and round. */
const strategyOf = (form: SequenceForm, weights: readonly number[]): Strategy =>
  behaviorStrategy(
    form,
    Float64Array.from({ length: form.sequences }, (_, s) => weights[s % weights.length]!),
  );

const weights = fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 7, maxLength: 13 });

/** Expected utility by walking the tree, with no use of the sequence form. */
function walk(tree: GameTree, profile: Profile, node = 0): number {
  const mover = tree.mover[node]!;
  if (mover === -1) return tree.utility[node]!;
  let value = 0;
  for (let a = 0; a < tree.children[node]!; a++) {
    const child = tree.firstChild[node]! + a;
    const infoset = mover < 0 ? undefined : tree.forms[mover as 0 | 1].infosets[tree.infoset[node]!]!;
    const chance = infoset ? profile[mover as 0 | 1][infoset.first + a]! : tree.probability[child]!;
    value += chance * walk(tree, profile, child);
  }
  return value;
}

describe("Kuhn poker", () => {
  test("has six information sets and twelve sequences a player", () => {
    for (const form of kuhn.forms) {
      expect(form.infosets).toHaveLength(6);
      expect(form.sequences).toBe(13);
    }
    expect(kuhn.payoffs.weighted).toHaveLength(30);
    expect([kuhn.minUtility, kuhn.maxUtility]).toEqual([-2, 2]);
  });

  test("uniform play has NashConv 11/12", () => {
    expect(nashConv(kuhn, uniformProfile(kuhn))).toBeCloseTo(0.916667, 6);
    expect(exploitability(kuhn, uniformProfile(kuhn))).toBeCloseTo(11 / 24, 10);
  });

  test.each([0, 0.1, 1 / 3])("the known equilibrium with bluffing rate %f has value -1/18", (alpha) => {
    const first = strategyFrom(kuhn.forms[0], {
      "0:": [1 - alpha, alpha],
      "1:": [1, 0],
      "2:": [1 - 3 * alpha, 3 * alpha],
      "0:pb": [1, 0],
      "1:pb": [2 / 3 - alpha, 1 / 3 + alpha],
      "2:pb": [0, 1],
    });
    const second = strategyFrom(kuhn.forms[1], {
      "0:p": [2 / 3, 1 / 3],
      "1:p": [1, 0],
      "2:p": [0, 1],
      "0:b": [1, 0],
      "1:b": [2 / 3, 1 / 3],
      "2:b": [0, 1],
    });
    expect(expectedUtility(kuhn, [first, second])).toBeCloseTo(-1 / 18, 12);
    expect(nashConv(kuhn, [first, second])).toBeCloseTo(0, 12);
  });

  test("CFR+ finds its value", () => {
    const solved = cfrPlus(kuhn, { tolerance: 1e-3 });
    expect(solved.converged).toBe(true);
    expect(Math.abs(solved.value + 1 / 18)).toBeLessThan(1e-3);
  });
});

describe("Leduc poker", () => {
  test("has 288 information sets when suits are ignored, and pots of at most 13", () => {
    expect(leduc.forms.map((form) => form.infosets.length)).toEqual([144, 144]);
    expect([leduc.minUtility, leduc.maxUtility]).toEqual([-13, 13]);
  });

  test("CFR+ finds its value, about -0.0856", () => {
    const solved = cfrPlus(leduc, { iterations: 1000, tolerance: 1e-3 });
    expect(solved.nashConv).toBeLessThan(2e-3);
    expect(solved.value).toBeCloseTo(-0.0856, 3);
  });

  test("uniform play has the NashConv known from OpenSpiel", () => {
    expect(nashConv(leduc, uniformProfile(leduc))).toBeCloseTo(4.747222, 5);
  });
});

describe("matrix games", () => {
  const scissors = gameTree(
    matrixGame([
      [0, -1, 1],
      [1, 0, -1],
      [-1, 1, 0],
    ]),
  );

  test("the answer to always rock is paper", () => {
    const { value, strategy } = bestResponse(
      scissors,
      1,
      strategyFrom(scissors.forms[0], { row: [1, 0, 0] }),
    );
    expect(value).toBe(1);
    expect([...strategy]).toEqual([1, 0, 1, 0]);
  });

  test("CFR+ solves a game with a mixed equilibrium off the centre", () => {
    // [[3, -1], [-2, 4]]: rows (3/5, 2/5), value 1.
    const solved = cfrPlus(
      gameTree(
        matrixGame([
          [3, -1],
          [-2, 4],
        ]),
      ),
      { iterations: 20_000 },
    );
    expect(solved.value).toBeCloseTo(1, 4);
    expect(solved.profile[0][1]).toBeCloseTo(0.6, 2);
  });

  test("refuses ragged matrices", () => {
    expect(() => matrixGame([[1, 2], [3]])).toThrow(RangeError);
  });
});

describe("the sequence form", () => {
  test.each([kuhn, leduc])("plans and strategies turn into each other", (tree) => {
    fc.assert(
      fc.property(weights, (w) => {
        const strategy = strategyOf(tree.forms[0], w);
        const plan = realizationPlan(tree.forms[0], strategy);
        behaviorStrategy(tree.forms[0], plan).forEach((p, s) => {
          expect(p).toBeCloseTo(strategy[s]!, 12);
        });
        for (const { first, actions, parent } of tree.forms[0].infosets) {
          const total = plan.slice(first, first + actions.length).reduce((a, b) => a + b, 0);
          expect(total).toBeCloseTo(plan[parent]!, 12);
        }
      }),
      { numRuns: 20 },
    );
  });

  test.each([kuhn, leduc])(
    "utilities agree with a walk through the tree, gains are never negative",
    (tree) => {
      fc.assert(
        fc.property(weights, weights, (a, b) => {
          const profile: Profile = [strategyOf(tree.forms[0], a), strategyOf(tree.forms[1], b)];
          expect(expectedUtility(tree, profile)).toBeCloseTo(walk(tree, profile), 10);
          const gains = [deviationGain(tree, 0, profile), deviationGain(tree, 1, profile)] as const;
          expect(Math.min(...gains)).toBeGreaterThanOrEqual(-1e-12);
          expect(gains[0] + gains[1]).toBeCloseTo(nashConv(tree, profile), 10);
          const answer = bestResponse(tree, 0, profile[1]);
          expect(expectedUtility(tree, [answer.strategy, profile[1]])).toBeCloseTo(answer.value, 10);
        }),
        { numRuns: 20 },
      );
    },
  );
});

describe("what is not a game", () => {
  const decision = (infoset: string, actions = ["a", "b"]) =>
    ({ kind: "decision", player: 0, infoset, actions }) as const;
  const game = (turn: Game<string>["turn"]): Game<string> => ({
    name: "broken",
    initial: () => "",
    turn,
    next: (state, action) => `${state}${action}`,
  });

  test.each<[string, Game<string>["turn"], RegExp]>([
    [
      "forgetting one's own move",
      (s) => (s.length < 2 ? decision(s === "" ? "first" : "second") : { kind: "terminal", utility: 0 }),
      /"second" of player 0 follows different actions .* perfect recall/,
    ],
    [
      "chances that sum to 0.9",
      () => ({ kind: "chance", probabilities: [0.5, 0.4] }),
      /chance's probabilities are 0.5, 0.4/,
    ],
    ["a NaN utility", () => ({ kind: "terminal", utility: Number.NaN }), /a utility is NaN/],
    ["an infinite tree", (s) => decision(s), /more than 1000 nodes/],
    ["no actions", () => decision("x", []), /"x" has no actions/],
  ])("refuses %s", (_, turn, message) => {
    expect(() => gameTree(game(turn), { maxNodes: 1000 })).toThrow(message);
  });
});
