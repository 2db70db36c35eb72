import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { build } from "vite";
import { expect, test } from "vitest";
import toy from "./fixtures/toy.ts";
import { inMemory, inThread, reproduce } from "./index.ts";

const environment = { machine: { cpu: "any", cores: 1, memoryGiB: 1, platform: "any" }, versions: {} };
const setting = { slug: "toy", mode: "quick", environment, codeVersion: "1" } as const;

test("a browser bundle of the lab reproduces to the same numbers with web APIs alone", async () => {
  const bundle = await build({
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["source"] },
    build: {
      write: false,
      minify: false,
      lib: {
        entry: fileURLToPath(new URL("./fixtures/page.ts", import.meta.url)),
        formats: ["iife"],
        name: "page",
      },
    },
  });
  const [output] = Array.isArray(bundle) ? bundle : [bundle];
  const [chunk] = (output as { output: readonly { code?: string }[] }).output;
  const web = createContext({ AbortController, AbortSignal, performance, setting });
  runInContext(chunk!.code!, web);
  const inBrowser = JSON.parse(await runInContext("page.reproduceToy(setting)", web));

  const here = await reproduce({ ...setting, experiment: toy, executor: inThread(toy), store: inMemory() });
  expect(inBrowser.claims).toEqual(JSON.parse(JSON.stringify(here.claims)));
  expect(inBrowser.tuning).toEqual(here.tuning);
});
