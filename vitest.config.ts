import { existsSync } from "node:fs";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";

/** Patience for slow, busy machines: what a test waits for comes soon on others. */
const shared = { testTimeout: 300_000, hookTimeout: 300_000, expect: { poll: { timeout: 60_000 } } };

const node: TestProjectConfiguration = {
  resolve: { conditions: ["source", "node"] },
  ssr: { resolve: { conditions: ["source", "node"] } },
  test: {
    ...shared,
    name: "node",
    include: ["packages/*/src/**/*.test.ts"],
    exclude: ["**/*.browser.test.ts"],
    pool: "forks",
    maxWorkers: 2,
  },
};

const candidates = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];
const chromium = candidates.find((path) => path && existsSync(path));

/** The engine's own suite again, in a real browser: WebAssembly instead of the native runtime. */
const browser: TestProjectConfiguration = {
  resolve: { conditions: ["source", "browser"] },
  optimizeDeps: { exclude: ["onnxruntime-web"], include: ["vitest", "fast-check"] },
  test: {
    ...shared,
    name: "chromium",
    // After the others: both want all cores.
    sequence: { groupOrder: 1 },
    include: ["packages/tensor/src/**/*.test.ts"],
    exclude: ["**/*.node.test.ts"],
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({
        launchOptions: {
          executablePath: chromium ?? "",
          args: [
            "--no-sandbox",
            // A GPU in software, so that WebGPU can be tested anywhere.
            "--enable-unsafe-webgpu",
            "--use-webgpu-adapter=swiftshader",
            "--use-vulkan=swiftshader",
            "--enable-features=Vulkan",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
          ],
        },
      }),
      instances: [{ browser: "chromium" }],
    },
  },
};

if (!chromium)
  console.warn(
    "No Chromium found (set CHROMIUM to its path): the browser's half of the engine's tests is left out.",
  );

export default defineConfig({ test: { projects: chromium ? [node, browser] : [node] } });
