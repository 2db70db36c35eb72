import { defineConfig } from "vitest/config";

/** The fuzzing tests with forty times as many cases, from new seeds: `npm run fuzz`. */
export default defineConfig({
  resolve: { conditions: ["source", "node"] },
  ssr: { resolve: { conditions: ["source", "node"] } },
  test: {
    include: ["packages/*/src/**/*.fuzz.test.ts", "packages/*/src/**/*.fuzz.node.test.ts"],
    env: { FUZZ_FACTOR: process.env.FUZZ_FACTOR ?? "40" },
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 3_600_000,
    hookTimeout: 120_000,
  },
});
