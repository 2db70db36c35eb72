import {
  type ArmSpec,
  defineExperiment,
  type Mode,
  type Progress,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import {
  type Game,
  type GameTree,
  gameTree,
  kuhnPoker,
  leducPoker,
  type Player,
} from "@prior-art/toolkit/games";
import { outcomeSamplingMccfr, type SelfPlayLearner, selfPlay } from "@prior-art/toolkit/online";
import { randomStream } from "@prior-art/toolkit/stats";
import { adaptiveFtrl, balancedFtrl, balancedOmd, ixomd, type Rates } from "./method.ts";

const LEARNERS = {
  balanced: "Balanced FTRL",
  adaptive: "Adaptive FTRL",
  ixomd: "IXOMD",
  balancedOmd: "Balanced OMD",
  mccfr: "Outcome-sampling MCCFR",
} as const;
type LearnerName = keyof typeof LEARNERS;

const GAMES = { kuhn: "Kuhn poker", leduc: "Leduc poker", comb: "Comb" } as const;
type GameName = keyof typeof GAMES;
type Arm = `${LearnerName}-${GameName}`;

/** Depth of the comb's tooth-by-tooth part and width of the part at its end. */
const COMB = { depth: 12, width: 64 };

/**
 * An unbalanced tree for one player: at each of twelve sets one can exit with a loss or go on, and after the last one
 * chance leads to one of 64 sets. Losses are 0 or 1 with means from a seeded table; they are smallest in the far end.
 */
function comb(seed: number): Game<readonly number[]> {
  const random = randomStream(seed, "comb");
  const exits = Array.from({ length: COMB.depth }, () => 0.5 + 0.4 * random.uniform());
  const leaves = Array.from({ length: COMB.width }, () => [0, 1].map(() => 0.8 * random.uniform()));
  // A state is the list of moves: 1 per set passed, the far set's number, the action there or 0 for the exit, the loss.
  const outcome = (moves: readonly number[]): number | undefined => {
    const exit = moves.indexOf(0);
    if (exit >= 0 && exit < COMB.depth) return exits[exit]!;
    return moves.length >= COMB.depth + 2 ? leaves[moves[COMB.depth]!]![moves[COMB.depth + 1]!]! : undefined;
  };
  const settled = (moves: readonly number[]): boolean => {
    const exit = moves.indexOf(0);
    const choices = exit >= 0 && exit < COMB.depth ? exit + 1 : COMB.depth + 2;
    return moves.length > choices;
  };
  return {
    name: "comb",
    initial: () => [],
    turn(moves) {
      const mean = outcome(moves);
      if (mean !== undefined)
        return settled(moves)
          ? { kind: "terminal", utility: -moves.at(-1)! }
          : { kind: "chance", probabilities: [1 - mean, mean] };
      if (moves.length === COMB.depth)
        return { kind: "chance", probabilities: new Array<number>(COMB.width).fill(1 / COMB.width) };
      const far = moves.length > COMB.depth;
      return {
        kind: "decision",
        player: 0,
        infoset: far ? `far ${moves[COMB.depth]}` : `tooth ${moves.length}`,
        actions: far ? ["left", "right"] : ["exit", "continue"],
      };
    },
    next: (moves, action) => [...moves, action],
  };
}

function treeOf(game: GameName, seed: number): GameTree {
  if (game === "kuhn") return gameTree(kuhnPoker());
  return game === "leduc" ? gameTree(leducPoker()) : gameTree(comb(seed));
}

interface Sizes {
  readonly depth: number;
  readonly actions: number;
  readonly infosets: number;
}

/** H, A and X of one player, at least 1 each. */
function sizesOf({ forms }: GameTree, player: Player): Sizes {
  const { infosets, infosetOf } = forms[player];
  const depths: number[] = [];
  for (const { parent } of infosets) depths.push(parent === 0 ? 1 : depths[infosetOf[parent]!]! + 1);
  return {
    depth: Math.max(1, ...depths),
    actions: Math.max(1, ...infosets.map((set) => set.actions.length)),
    infosets: Math.max(1, infosets.length),
  };
}

/** γ/η as in the authors' configuration files, for all four. */
const EXPLORATION = 0.05;

/** A learner at `constant` times its natural rate, or with exploration ε = `constant`. */
function makeLearner(
  name: LearnerName,
  tree: GameTree,
  player: Player,
  { constant, episodes }: { readonly constant: number; readonly episodes: number },
): SelfPlayLearner {
  const { depth, actions, infosets } = sizesOf(tree, player);
  const rates = (scale: number): Rates => ({ eta: constant * scale, gamma: EXPLORATION * constant * scale });
  if (name === "balanced")
    return balancedFtrl(tree, player, rates((depth * actions * infosets * episodes) ** -0.5));
  if (name === "adaptive") return adaptiveFtrl(rates(Math.sqrt(episodes / (actions * infosets))));
  if (name === "ixomd") return ixomd(rates(episodes ** -0.5));
  if (name === "balancedOmd")
    return balancedOmd(tree, player, rates(Math.sqrt((actions * infosets) / (depth ** 3 * episodes))));
  return outcomeSamplingMccfr({ player, exploration: constant });
}

/** Episodes at which the average policies are measured: 15, equally spaced in the logarithm, over 2.5 decades. */
const checkpoints = (episodes: number): number[] =>
  Array.from({ length: 15 }, (_, i) => Math.round((episodes / 300) * 300 ** (i / 14)));

type Settings = Readonly<Record<GameName, number>>;

type Metrics = {
  readonly episodes: readonly number[];
  /** NashConv of the average policies, by `episodes`; in the comb it is the regret per episode. */
  readonly nashConv: readonly number[];
  /** The last 1.5 decades of both. */
  readonly lateEpisodes: readonly number[];
  readonly lateNashConv: readonly number[];
  readonly finalNashConv: number;
};

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: {
  readonly arm: Arm;
  readonly seed: number;
  readonly settings: Settings;
  readonly hyperparameters: { readonly constant: number };
}): AsyncGenerator<Progress, Metrics, void> {
  const [learner, game] = arm.split("-") as [LearnerName, GameName];
  const tree = treeOf(game, seed);
  const budget = { constant: hyperparameters.constant, episodes: settings[game] };
  const learners = [makeLearner(learner, tree, 0, budget), makeLearner(learner, tree, 1, budget)] as const;
  const episodes = checkpoints(budget.episodes);
  const nashConv: number[] = [];
  for (const point of selfPlay(tree, learners, { checkpoints: episodes, random: randomStream(seed, arm) })) {
    nashConv.push(point.nashConv);
    yield { step: point.episode, of: budget.episodes, metrics: { nashConv: point.nashConv } };
  }
  const late = episodes.findIndex((t) => t >= budget.episodes / 10 ** 1.5);
  return {
    episodes,
    nashConv,
    lateEpisodes: episodes.slice(late),
    lateNashConv: nashConv.slice(late),
    finalNashConv: nashConv.at(-1)!,
  };
}

/** Nine multipliers half a decade apart, and nine explorations: the same budget for all. */
const MULTIPLIERS = Array.from({ length: 9 }, (_, i) => 10 ** (i / 2 - 1));
const EXPLORATIONS = [0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1];

const learnerNames = Object.keys(LEARNERS) as LearnerName[];
const gameNames = Object.keys(GAMES) as GameName[];

type TunedArm = ArmSpec & { readonly space: { readonly constant: readonly number[] } };
const arms = Object.fromEntries(
  gameNames.flatMap((game) =>
    learnerNames.map((learner): [Arm, TunedArm] => [
      `${learner}-${game}`,
      {
        label: `${LEARNERS[learner]}, ${GAMES[game]}`,
        space: { constant: learner === "mccfr" ? EXPLORATIONS : MULTIPLIERS },
      },
    ]),
  ),
) as unknown as Readonly<Record<Arm, TunedArm>>;

const FTRL = ["balanced", "adaptive"] as const;
const POKER = ["kuhn", "leduc"] as const;

const rateClaims = POKER.flatMap((game) =>
  FTRL.map((learner) => ({
    kind: "scaling" as const,
    id: `${game}-rate-${learner}`,
    of: "nashconv-rate",
    statement: `${LEARNERS[learner]}'s NashConv in ${GAMES[game]} falls at least like the −0.4th power of the episodes over the last 1.5 decades`,
    modes: ["full"] as const,
    arm: `${learner}-${game}` as const,
    x: "lateEpisodes" as const,
    y: "lateNashConv" as const,
    slope: { max: -0.4 },
    pool: "mean" as const,
  })),
);

const finalClaim = (
  learner: (typeof FTRL)[number],
  mode: Mode,
  max: number,
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `kuhn-final-${learner}${mode === "quick" ? "-quick" : ""}`,
  of: "nashconv-rate",
  statement: `${LEARNERS[learner]}'s last NashConv in Kuhn poker is at most ${max} (0.917 for uniform play)`,
  quantity: "NashConv of the average policies",
  modes: [mode],
  arms: [`${learner}-kuhn`],
  perSeed: (metrics) => metrics[`${learner}-kuhn`].finalNashConv,
  pass: { max },
});

/** The ratio of two learners' mean final NashConv is at most `max`. */
const ratioClaim = (
  of: string,
  game: GameName,
  [learner, other]: readonly [LearnerName, LearnerName],
  max: number,
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `${game}-${learner}-vs-${other}`.toLowerCase(),
  of,
  statement: `${LEARNERS[learner]}'s last NashConv in ${GAMES[game]} is at most ${max} times that of ${LEARNERS[other]}`,
  quantity: "ratio of mean final NashConv",
  modes: ["full"],
  arms: [`${learner}-${game}`, `${other}-${game}`],
  acrossSeeds: (seeds) => {
    const total = (name: LearnerName): number =>
      seeds.reduce((sum, metrics) => sum + metrics[`${name}-${game}`].finalNashConv, 0);
    return total(learner) / total(other);
  },
  pass: { max },
});

export default defineExperiment({
  settings: {
    full: { kuhn: 300_000, leduc: 500_000, comb: 100_000 },
    quick: { kuhn: 30_000, leduc: 15_000, comb: 10_000 },
  },
  seeds: { full: 5, quick: 2 },
  arms,
  run,
  tuning: { metric: "finalNashConv", goal: "minimize", budget: { full: 9, quick: 9 } },
  claims: [
    ...rateClaims,
    ...FTRL.flatMap((learner) => [finalClaim(learner, "full", 0.1), finalClaim(learner, "quick", 0.35)]),
    ...POKER.map((game) => ratioClaim("adaptive-close-to-balanced", game, ["adaptive", "balanced"], 2)),
    ...POKER.flatMap((game) =>
      FTRL.flatMap((learner) =>
        (["ixomd", "balancedOmd"] as const).map((other) =>
          ratioClaim("comparable-to-omd", game, [learner, other], 1.25),
        ),
      ),
    ),
  ],
  figure: ({ Plot, units }) =>
    gameNames.map((game) => {
      const points = learnerNames.flatMap((learner) => {
        const curves = units.filter(({ arm }) => arm === `${learner}-${game}`).map(({ metrics }) => metrics);
        return (curves[0]?.episodes ?? []).map((episodes, i) => ({
          episodes,
          nashConv: curves.reduce((sum, curve) => sum + curve.nashConv[i]!, 0) / curves.length,
          learner: LEARNERS[learner],
        }));
      });
      const start = points[0];
      const guide = points
        .filter(({ learner }) => learner === LEARNERS.balanced)
        .map(({ episodes }) => ({
          episodes,
          nashConv: start!.nashConv * Math.sqrt(start!.episodes / episodes),
        }));
      return {
        title: GAMES[game],
        options: {
          x: { type: "log", label: "Episodes" },
          y: { type: "log", label: game === "comb" ? "Regret per episode" : "NashConv of the average" },
          color: { legend: true, domain: Object.values(LEARNERS) },
          marks: [
            Plot.line(guide, { x: "episodes", y: "nashConv", stroke: "gray", strokeDasharray: "4,3" }),
            Plot.line(points, { x: "episodes", y: "nashConv", stroke: "learner", marker: "dot" }),
          ],
        },
      };
    }),
});
