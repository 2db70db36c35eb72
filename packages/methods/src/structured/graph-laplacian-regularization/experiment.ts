import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { trainNetwork } from "../denoisingNetwork.ts";
import type { Image, InverseProblem, Reconstructor } from "../family.ts";
import { bilateralFilter, tikhonov, totalVariation } from "../reconstructors.ts";
import {
  filteredBackProjection,
  type Geometry,
  measure,
  phantom,
  radonTransform,
  relativeError,
  structuralSimilarity,
} from "../tomography.ts";
import { graphLaPlus } from "./method.ts";

/** Noise of the data, relative, from little to much; the network is trained at the least. */
const NOISES = [0.005, 0.02, 0.05];

type Initializer = "Fbp" | "Tikhonov" | "Tv" | "Net";
const INITIALIZERS = ["Fbp", "Tikhonov", "Tv", "Net"] as const;
/** `alone…` is a first reconstruction, `filtered…` that after a bilateral filter, `graph…` graphLa+Ψ. */
type Arm = `${"alone" | "filtered" | "graph"}${Initializer}` | "graphOracle";

interface Settings {
  readonly size: number;
  readonly phantoms: number;
  readonly epochs: number;
}

type Metrics = {
  /** ‖x − x*‖/‖x*‖, the mean over the levels of noise. */
  readonly error: number;
  readonly similarity: number;
  /** Error at the most noise less that at the least. */
  readonly growth: number;
  /** Errors by level of noise. */
  readonly errors: readonly number[];
  /** The image at the middle level of noise. */
  readonly image: readonly number[];
};

/** One network for each setting: it does not depend on the seed. */
const networks = new Map<string, Promise<Reconstructor>>();

function networkOf(geometry: Geometry, { phantoms, epochs }: Settings): Promise<Reconstructor> {
  const key = JSON.stringify([geometry, phantoms, epochs]);
  let network = networks.get(key);
  if (!network) {
    network = trainNetwork({ geometry, noise: NOISES[0]!, phantoms, epochs });
    networks.set(key, network);
  }
  return network;
}

async function first(
  kind: string,
  problem: InverseProblem,
  geometry: Geometry,
  settings: Settings,
): Promise<Image> {
  switch (kind) {
    case "Fbp":
      return filteredBackProjection(problem, geometry.rays);
    case "Tikhonov":
      return tikhonov(problem);
    case "Tv":
      return totalVariation(problem);
    default:
      return (await networkOf(geometry, settings))(problem);
  }
}

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { sigma, range } = hyperparameters as { readonly sigma: number; readonly range: number };
  const geometry = { size: settings.size, angles: 40, rays: Math.ceil(settings.size * Math.SQRT2) };
  const forward = radonTransform(geometry);
  const truth = phantom(settings.size, seed);
  const images: Image[] = [];
  for (const noise of NOISES) {
    const problem = measure(truth, forward, noise, seed);
    const [stage, kind] = /^(alone|filtered|graph)(.*)$/.exec(arm)!.slice(1) as [string, string];
    const initial = kind === "Oracle" ? truth : await first(kind, problem, geometry, settings);
    if (stage === "graph") images.push((await graphLaPlus(problem, { initial, sigma })).image);
    else images.push(stage === "filtered" ? bilateralFilter(initial, { range }) : initial);
    yield { step: images.length, of: NOISES.length };
  }
  const errors = images.map((image) => relativeError(image, truth));
  return {
    error: mean(errors),
    similarity: mean(images.map((image) => structuralSimilarity(image, truth))),
    growth: errors.at(-1)! - errors[0]!,
    errors,
    image: Array.from(images[1]!.values, (value) => Math.round(value * 1000) / 1000),
  };
}

const NAMES: Readonly<Record<Initializer, string>> = {
  Fbp: "filtered back-projection",
  Tikhonov: "Tikhonov",
  Tv: "total variation",
  Net: "network",
};

const GRAPH = { sigma: [3e-4, 1e-3, 3e-3] } as const;
const FILTER = { range: [0.05, 0.1, 0.2] } as const;

type Comparison = ComparisonClaim<Arm, keyof Metrics & string>;

const improves = (kind: Initializer, metric: "error" | "similarity"): Comparison => ({
  kind: "comparison",
  id: `${metric}-${kind}`,
  of: "improves-every-initializer",
  statement: `graphLa+Ψ has ${metric === "error" ? "a smaller relative error" : "a greater structural similarity"} than Ψ = ${NAMES[kind]} alone, over three levels of noise`,
  metric,
  better: `graph${kind}`,
  worse: `alone${kind}`,
  goal: metric === "error" ? "minimize" : "maximize",
});

const beatsFilter = (kind: Initializer): Comparison => ({
  kind: "comparison",
  id: `filter-${kind}`,
  of: "improves-every-initializer",
  statement: `Ψ = ${NAMES[kind]}: graphLa+Ψ has a smaller error than Ψ followed by a tuned bilateral filter`,
  metric: "error",
  better: `graph${kind}`,
  worse: `filtered${kind}`,
  goal: "minimize",
});

const networkBest = (kind: Exclude<Initializer, "Net">): Comparison => ({
  kind: "comparison",
  id: `network-over-${kind}`,
  of: "improves-every-initializer",
  statement: `graphLa+Ψ with the network has a smaller error than with ${NAMES[kind]}`,
  metric: "error",
  better: "graphNet",
  worse: `graph${kind}`,
  goal: "minimize",
});

export default defineExperiment({
  settings: {
    full: { size: 32, phantoms: 200, epochs: 100 },
    quick: { size: 16, phantoms: 40, epochs: 15 },
  },
  seeds: { full: 8, quick: 1 },
  arms: {
    aloneFbp: { label: "FBP" },
    filteredFbp: { label: "FBP, bilateral filter", space: FILTER },
    graphFbp: { label: "graphLa+FBP", space: GRAPH },
    aloneTikhonov: { label: "Tikhonov" },
    filteredTikhonov: { label: "Tikhonov, bilateral filter", space: FILTER },
    graphTikhonov: { label: "graphLa+Tikhonov", space: GRAPH },
    aloneTv: { label: "TV" },
    filteredTv: { label: "TV, bilateral filter", space: FILTER },
    graphTv: { label: "graphLa+TV", space: GRAPH },
    aloneNet: { label: "network" },
    filteredNet: { label: "network, bilateral filter", space: FILTER },
    graphNet: { label: "graphLa+network", space: GRAPH },
    graphOracle: { label: "graphLa+truth", fixed: { sigma: 1e-3 } },
  },
  run,
  tuning: { metric: "error", goal: "minimize", budget: { full: 3, quick: 1 }, seeds: { full: 2, quick: 1 } },
  claims: [
    ...INITIALIZERS.map((kind) => improves(kind, "error")),
    ...INITIALIZERS.map((kind) => improves(kind, "similarity")),
    ...INITIALIZERS.map(beatsFilter),
    ...(["Fbp", "Tikhonov", "Tv"] as const).map(networkBest),
    {
      kind: "comparison",
      id: "network-stable",
      of: "stable-under-noise",
      statement: "From 0.5% to 5% noise the error of graphLa+network grows less than that of the network",
      metric: "growth",
      better: "graphNet",
      worse: "aloneNet",
      goal: "minimize",
    },
    {
      kind: "statistic",
      id: "network-stable-relative",
      of: "stable-under-noise",
      statement:
        "At 5% noise, ten times what the network was trained at, graphLa+network is still better than the network",
      quantity: "error of the network less that of graphLa+network, at 5% noise",
      arms: ["aloneNet", "graphNet"],
      perSeed: ({ aloneNet, graphNet }) => aloneNet.errors.at(-1)! - graphNet.errors.at(-1)!,
      pass: { min: 0 },
    },
    ...(["graphFbp", "graphTv", "graphOracle"] as const).map(
      (arm) =>
        ({
          kind: "scaling",
          id: `converges-${arm}`,
          of: "convergent-regularization",
          statement: `The error of ${arm} falls with the noise like a power of at least 0.3`,
          arm,
          x: NOISES,
          y: "errors",
          slope: { min: 0.3 },
        }) as const,
    ),
  ],
  figure: ({ Plot, units, arms }) => {
    const seed = Math.min(...units.map((unit) => unit.seed));
    const shown = arms.filter(({ name }) => name.startsWith("alone") || name.startsWith("graph"));
    const meanError = (name: string): string => {
      const errors = units.filter((unit) => unit.arm === name).map((unit) => unit.metrics.error);
      return mean(errors).toFixed(3);
    };
    const pixels = shown.flatMap(({ name, label }) => {
      const image = units.find((unit) => unit.arm === name && unit.seed === seed)?.metrics.image ?? [];
      const size = Math.round(Math.sqrt(image.length));
      return image.map((level, at) => ({
        what: `${label} ${meanError(name)}`,
        x: at % size,
        y: Math.floor(at / size),
        level,
      }));
    });
    const titles = shown.map(({ name, label }) => `${label} ${meanError(name)}`);
    const column = (what: string): number => Math.floor(titles.indexOf(what) / 2);
    return {
      title: "One phantom at 2% noise, with the mean relative error over all",
      options: {
        width: 1100,
        height: 520,
        axis: null,
        padding: 0,
        y: { reverse: false },
        color: { type: "linear" as const, scheme: "greys" as const, domain: [1, 0], clamp: true },
        facet: {
          data: pixels,
          x: (d: { what: string }) => column(d.what),
          y: (d: { what: string }) => titles.indexOf(d.what) % 2,
        },
        marks: [
          Plot.cell(pixels, { x: "x", y: "y", fill: "level" }),
          Plot.text(pixels, Plot.selectFirst({ text: "what", frameAnchor: "top", dy: -10, fill: "black" })),
        ],
        marginTop: 30,
      },
    };
  },
});
