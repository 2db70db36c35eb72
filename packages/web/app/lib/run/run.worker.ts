import { inMemory, inThread, type LabEvent, reproduce } from "@prior-art/lab";
import { experiments, tasks } from "@prior-art/methods/experiments";
import type { RunMessage, RunOrder } from "./messages";

const send = (message: RunMessage) => self.postMessage(message);
/** Milliseconds between two progress messages of a unit. */
const PERIOD = 60;

self.onmessage = async ({ data }: MessageEvent<RunOrder>) => {
  try {
    send({ type: "done", results: await run(data) });
  } catch (error) {
    send({ type: "failed", message: error instanceof Error ? error.message : String(error) });
  }
};

async function run({ target, settings, seeds }: RunOrder) {
  const load = (target.kind === "paper" ? experiments : tasks)[target.name];
  if (!load) throw new Error(`there is no experiment ${target.name}`);
  const { default: written } = await load();
  const quick = { ...written.settings.quick, ...settings };
  const experiment = { ...written, settings: { ...written.settings, quick } };
  let last = 0;
  return reproduce({
    slug: target.name,
    experiment,
    mode: "quick",
    seeds,
    executor: inThread(experiment),
    store: inMemory(),
    environment: {
      machine: {
        cpu: "browser",
        cores: navigator.hardwareConcurrency,
        memoryGiB: 0,
        platform: "WebAssembly",
      },
      versions: {},
    },
    codeVersion: "browser",
    onEvent(event: LabEvent) {
      const now = performance.now();
      if (event.type === "progress" && now - last < PERIOD && event.progress.step < event.progress.of) return;
      last = now;
      send({ type: "event", event });
    },
  });
}
