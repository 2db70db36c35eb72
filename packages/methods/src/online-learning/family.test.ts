import { gameTree, kuhnPoker, leducPoker, nashConv, uniformProfile } from "@prior-art/toolkit/games";
import { selfPlay } from "@prior-art/toolkit/online";
import { randomStream } from "@prior-art/toolkit/stats";
import { expect, test } from "vitest";
import { playerSizes } from "./family.ts";
import imperfectInformationGameFtrl from "./imperfect-information-game-ftrl/contender.ts";

test("a player of Kuhn poker has six sets, two deep, with two actions each", () => {
  const tree = gameTree(kuhnPoker());
  expect(playerSizes(tree, 0)).toEqual({ depth: 2, actions: 2, infosets: 6 });
  expect(playerSizes(tree, 1)).toEqual({ depth: 1, actions: 2, infosets: 6 });
  expect(playerSizes(gameTree(leducPoker()), 0).actions).toBe(3);
});

test.each(Object.entries(imperfectInformationGameFtrl))("%s gets closer to equilibrium", (_, contender) => {
  const tree = gameTree(kuhnPoker());
  const make = (player: 0 | 1) =>
    contender.selfPlay({ constant: 3, exploration: 0.05 }, { tree, player, episodes: 20_000 });
  const play = selfPlay(tree, [make(0), make(1)], { checkpoints: [20_000], random: randomStream(0) });
  expect([...play][0]!.nashConv).toBeLessThan(nashConv(tree, uniformProfile(tree)) / 2);
});
