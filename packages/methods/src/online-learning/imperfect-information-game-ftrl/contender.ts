import { type Contender, playerSizes } from "../family.ts";
import { adaptiveFtrl, balancedFtrl } from "./method.ts";

/** Multiples of the rates that the theory suggests. */
const constant = [0.3, 1, 3, 10, 30, 100];
/** γ/η: how much implicit exploration. */
const exploration = [0.05, 0.2];

const contenders: Readonly<Record<string, Contender>> = {
  imperfectInformationGameFtrlBalanced: {
    label: "Balanced FTRL",
    space: { constant, exploration },
    selfPlay({ constant: factor, exploration: share }, { tree, player, episodes }) {
      const { depth, actions, infosets } = playerSizes(tree, player);
      const eta = factor! / Math.sqrt(depth * actions * infosets * episodes);
      return balancedFtrl(tree, player, { eta, gamma: share! * eta });
    },
  },
  imperfectInformationGameFtrlAdaptive: {
    label: "Adaptive FTRL",
    space: { constant, exploration },
    selfPlay({ constant: factor, exploration: share }, { tree, player, episodes }) {
      const { actions, infosets } = playerSizes(tree, player);
      const eta = factor! * Math.sqrt(episodes / (actions * infosets));
      return adaptiveFtrl({ eta, gamma: share! * eta });
    },
  },
};
export default contenders;
