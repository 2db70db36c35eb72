import { decodeTable } from "./table.ts";

interface Dataset {
  readonly name: string;
  /** Row-major, `[examples, features]`. */
  readonly features: Float32Array;
  readonly shape: readonly [examples: number, features: number];
  readonly featureNames: readonly string[];
  readonly license: string;
  readonly citation: string;
}

export interface ClassificationDataset extends Dataset {
  /** Class index of each example, `[examples]`. */
  readonly labels: Int32Array;
  readonly classNames: readonly string[];
}

export interface RegressionDataset extends Dataset {
  /** `[examples]` */
  readonly targets: Float32Array;
  readonly targetName: string;
}

const uci = "CC BY 4.0";

/** 1,797 hand-written digits: 8×8 pixels with grey levels 0–16 (divide by 16 for 0–1), 10 classes. */
export async function digits(): Promise<ClassificationDataset> {
  return classification("digits", await import("./sets/digits.ts"), [..."0123456789"], {
    license: uci,
    citation:
      "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998. doi:10.24432/C50P49",
  });
}

/** 2,000 hand-written digits of MNIST, 200 of each class: 28×28 pixels with grey levels 0–255, 10 classes. */
export async function mnist(): Promise<ClassificationDataset> {
  return classification("mnist", await import("./sets/mnist.ts"), [..."0123456789"], {
    license: "CC BY-SA 3.0",
    citation:
      "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998. 200 digits of each class, unchanged.",
  });
}

/** 150 flowers, 4 lengths in cm, 3 species. */
export async function iris(): Promise<ClassificationDataset> {
  return classification("iris", await import("./sets/iris.ts"), ["setosa", "versicolor", "virginica"], {
    license: uci,
    citation: "R. A. Fisher: Iris. UCI Machine Learning Repository, 1936. doi:10.24432/C56C76",
  });
}

/** 178 wines, 13 chemical analyses, 3 cultivars. */
export async function wine(): Promise<ClassificationDataset> {
  return classification("wine", await import("./sets/wine.ts"), ["cultivar 1", "cultivar 2", "cultivar 3"], {
    license: uci,
    citation: "S. Aeberhard, M. Forina: Wine. UCI Machine Learning Repository, 1992. doi:10.24432/C5PC7J",
  });
}

/** 569 tumours, 30 measurements of cell nuclei, malignant (0) or benign (1). */
export async function breastCancer(): Promise<ClassificationDataset> {
  return classification("breast-cancer", await import("./sets/breast-cancer.ts"), ["malignant", "benign"], {
    license: uci,
    citation:
      "W. Wolberg, O. Mangasarian, N. Street, W. Street: Breast Cancer Wisconsin (Diagnostic). UCI Machine Learning Repository, 1993. doi:10.24432/C5DW2B",
  });
}

/** 442 patients, 10 measurements in their own units; the target is disease progression after one year. */
export async function diabetes(): Promise<RegressionDataset> {
  const { features, shape, featureNames, last } = splitColumns(
    await decodeTable((await import("./sets/diabetes.ts")).default),
  );
  return {
    name: "diabetes",
    features,
    shape,
    featureNames,
    targets: Float32Array.from(last),
    targetName: "disease progression after one year",
    license: "facts, published with the paper",
    citation:
      "B. Efron, T. Hastie, I. Johnstone, R. Tibshirani: Least angle regression. Annals of Statistics 32(2), 2004. doi:10.1214/009053604000000067",
  };
}

async function classification(
  name: string,
  module: { readonly default: string },
  classNames: readonly string[],
  source: { readonly license: string; readonly citation: string },
): Promise<ClassificationDataset> {
  const { features, shape, featureNames, last } = splitColumns(await decodeTable(module.default));
  return { name, features, shape, featureNames, labels: Int32Array.from(last), classNames, ...source };
}

function splitColumns({ columns, rows, values }: Awaited<ReturnType<typeof decodeTable>>) {
  const width = columns.length - 1;
  const features = new Float32Array(rows * width);
  const last = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const start = row * columns.length;
    features.set(values.subarray(start, start + width), row * width);
    last[row] = values[start + width]!;
  }
  return { features, shape: [rows, width] as const, featureNames: columns.slice(0, width), last };
}
