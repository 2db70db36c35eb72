import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import {
  cfrPlus,
  type GameTree,
  gameTree,
  kuhnPoker,
  leducPoker,
  nashConv,
  TERMINAL,
  uniformProfile,
} from "@prior-art/toolkit/games";
import { outcomeSamplingMccfr, type SelfPlayLearner, selfPlay } from "@prior-art/toolkit/online";
import { randomStream } from "@prior-art/toolkit/stats";
import { contenders } from "./contenders.generated.ts";
import type { Contender, Hyperparameters } from "./family.ts";

const entries: Readonly<Record<string, Contender>> = {
  outcomeSampling: {
    label: "Outcome-sampling MCCFR",
    space: { exploration: [0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1] },
    selfPlay: ({ exploration }, { player }) => outcomeSamplingMccfr({ player, exploration: exploration! }),
  },
  ...contenders,
};

const tuned = Object.fromEntries(
  Object.entries(entries).map(([name, { label, space, fixed }]) => [
    name,
    { label, ...(space && { space }), ...(fixed && { fixed }) },
  ]),
);

const GAMES = { kuhn: kuhnPoker, leduc: leducPoker } as const;
type Game = keyof typeof GAMES;

const terminals = ({ mover }: GameTree): number =>
  mover.reduce((count: number, m: number) => count + (m === TERMINAL ? 1 : 0), 0);

/** NashConv of what has been learned after `episodes` ends of the game were seen. */
function finalNashConv(
  arm: string,
  tree: GameTree,
  options: { readonly episodes: number; readonly seed: number; readonly hyperparameters: Hyperparameters },
): number {
  const { episodes, seed, hyperparameters } = options;
  // An iteration of CFR+ walks the whole tree for each player.
  if (arm === "cfrPlus")
    return cfrPlus(tree, {
      iterations: Math.max(1, Math.floor(episodes / (2 * terminals(tree)))),
      tolerance: 0,
    }).nashConv;
  const learner = (player: 0 | 1): SelfPlayLearner =>
    entries[arm]!.selfPlay(hyperparameters, { tree, player, episodes });
  const random = randomStream(seed, arm);
  const [point] = [...selfPlay(tree, [learner(0), learner(1)], { checkpoints: [episodes], random })];
  return point!.nashConv;
}

type Metrics = Readonly<Record<Game, number>> & {
  /** Mean over the games of NashConv as a share of the uniform profile's. */
  readonly nashConv: number;
};

/**
 * Kuhn and Leduc poker by self-play: how far the average policies are from equilibrium after equally many ends of the
 * game were seen, in played episodes or, by CFR+, in walks through the known tree.
 */
export default defineExperiment({
  settings: { full: { kuhn: 100_000, leduc: 300_000 }, quick: { kuhn: 10_000, leduc: 30_000 } },
  seeds: { full: 8, quick: 2 },
  arms: { cfrPlus: { label: "CFR+ (walks the tree)" }, ...tuned },
  async *run({ arm, seed, settings, hyperparameters }): AsyncGenerator<Progress, Metrics, void> {
    const shares: number[] = [];
    const gaps = {} as Record<Game, number>;
    for (const game of Object.keys(GAMES) as Game[]) {
      const tree = gameTree<unknown>(GAMES[game]());
      const options = {
        episodes: settings[game],
        seed,
        hyperparameters: hyperparameters as Hyperparameters,
      };
      gaps[game] = finalNashConv(arm, tree, options);
      shares.push(gaps[game] / nashConv(tree, uniformProfile(tree)));
      yield { step: shares.length, of: 2 };
    }
    return { ...gaps, nashConv: (shares[0]! + shares[1]!) / 2 };
  },
  tuning: {
    metric: "nashConv",
    goal: "minimize",
    budget: { full: 12, quick: 3 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) => ({
    title: "Distance to equilibrium, as a share of uniform play's",
    options: {
      marginLeft: 170,
      x: { label: "NashConv, mean of Kuhn and Leduc poker", type: "log", grid: true },
      y: { label: null, domain: named.map(({ label }) => label) },
      marks: [
        Plot.dot(units, {
          x: ({ metrics }) => metrics.nashConv,
          y: ({ arm }) => named.find(({ name }) => name === arm)!.label,
        }),
      ],
    },
  }),
  leaderboard: { metric: "nashConv", goal: "minimize" },
});
