import { data, mul, random, type Tensor, tensor, treeMap } from "@prior-art/tensor";
import type { Contender, Prediction } from "../family.ts";
import { homogeneousMlp } from "../modularAddition.ts";
import { collapseMargin, isCollapsed, preciseCrossEntropy } from "./method.ts";

const CLASSES = 10;
/** Margins to try, nats. */
const MARGINS = Float64Array.from({ length: 4501 }, (_, i) => i / 100);

/** The first margin at which the engine's own arithmetic collapses. */
async function measuredMargin(logitsAt: (margin: number) => readonly number[], dtype: "float32" | "float64") {
  const rows = [...MARGINS].map(logitsAt);
  const labels = tensor(new Int32Array(rows.length));
  const collapsed = await data(isCollapsed(tensor(rows as number[][], { dtype }), labels));
  return MARGINS[collapsed.findIndex((value) => Boolean(value))]!;
}

const contenders: Readonly<Record<string, Contender>> = {
  edgeOfNumericalStability: {
    label: "Softmax collapse and scaling of the logits",
    phenomenon: {
      async *observe({ seed }) {
        const predictions: Prediction[] = [];
        const logitsAt = (margin: number): readonly number[] => [
          margin,
          ...new Array<number>(CLASSES - 1).fill(0),
        ];
        const margin = (precision: "float16" | "float32" | "float64", measured: number): Prediction => ({
          quantity: `margin from which Softmax collapses in ${precision}, nats`,
          predicted: collapseMargin(precision),
          measured,
        });
        const half = MARGINS.findIndex((m) => preciseCrossEntropy(logitsAt(m), 0, "float16").collapsed);
        predictions.push(margin("float16", MARGINS[half]!));
        for (const precision of ["float32", "float64"] as const) {
          predictions.push(margin(precision, await measuredMargin(logitsAt, precision)));
          yield { step: predictions.length, of: 4 };
        }
        // A network of three layers without biases is homogeneous of degree 3 in its weights.
        const network = homogeneousMlp([20, 32, 32, CLASSES]);
        const params = network.init(random.key(seed));
        const input = random.normal(random.fold(random.key(seed), 1), [1, 20]);
        const first = async (p: readonly Tensor[]): Promise<number> =>
          (await data(network.apply(p, input)))[0]!;
        const scaled = treeMap((w) => mul(1.1, w), params);
        predictions.push({
          quantity: "growth of the logits when all weights grow by a tenth",
          predicted: 1.1 ** 3,
          measured: (await first(scaled)) / (await first(params)),
        });
        yield { step: 4, of: 4 };
        return predictions;
      },
    },
  },
};
export default contenders;
