import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { rooms } from "@prior-art/methods";
import type { Command } from "commander";
import { dataOption, requireWritable } from "../dataFolder.ts";

interface Finding {
  readonly name: string;
  /** `missing` is for what is only needed by some commands. */
  readonly state: "ok" | "missing" | "broken";
  readonly detail: string;
}

export function register(program: Command): void {
  program
    .command("doctor")
    .description("check that this machine has what the commands need")
    .option("--json", "print one JSON document")
    .addOption(dataOption())
    .action(async (options: { json?: boolean; data: string }) => {
      const findings = [
        nodeVersion(),
        await engine(),
        await dataFolder(options.data),
        collection(),
        chromium(),
        await torch(),
      ];
      if (options.json) process.stdout.write(`${JSON.stringify(findings, null, 1)}\n`);
      else
        for (const { name, state, detail } of findings)
          process.stdout.write(`${state.padEnd(8)}${name}: ${detail}\n`);
      if (findings.some(({ state }) => state === "broken")) process.exitCode = 1;
    });
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const enough = major > 20 || (major === 20 && minor >= 19);
  const detail = enough ? process.versions.node : `${process.versions.node}; install 20.19 or newer`;
  return { name: "Node.js", state: enough ? "ok" : "broken", detail };
}

async function engine(): Promise<Finding> {
  const name = "tensor engine";
  try {
    const { item, sum, tensor } = await import("@prior-art/tensor");
    const total = await item(sum(tensor([1, 2, 3])));
    if (total === 6) return { name, state: "ok", detail: "onnxruntime-node loads and computes" };
    return { name, state: "broken", detail: `1 + 2 + 3 gave ${total}; reinstall with npm ci` };
  } catch (error) {
    return { name, state: "broken", detail: `${firstLine(error)}; reinstall with npm ci` };
  }
}

async function dataFolder(folder: string): Promise<Finding> {
  try {
    return { name: "data folder", state: "ok", detail: `${await requireWritable(folder)} is writable` };
  } catch (error) {
    return { name: "data folder", state: "broken", detail: firstLine(error) };
  }
}

function collection(): Finding {
  const experiments = rooms.filter(({ loadExperiment }) => loadExperiment).length;
  return {
    name: "collection",
    state: "ok",
    detail: `${rooms.length} papers, ${experiments} with an experiment`,
  };
}

function chromium(): Finding {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of names) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return { name: "Chromium", state: "ok", detail: join(folder, name) };
      } catch {}
    }
  }
  return { name: "Chromium", state: "missing", detail: "not on the PATH; only the browser tests need it" };
}

/** Looks where the engine's benchmark looks. */
async function torch(): Promise<Finding> {
  const name = "PyTorch";
  const script = "import torch; print(torch.__version__)";
  for (const python of [process.env.PRIOR_ART_PYTHON, "/usr/bin/python3", "python3"]) {
    if (!python) continue;
    try {
      const { stdout } = await promisify(execFile)(python, ["-c", script], { timeout: 30_000 });
      return { name, state: "ok", detail: `${stdout.trim()} (${python})` };
    } catch {}
  }
  return {
    name,
    state: "missing",
    detail:
      "no Python imports torch; only prior-art bench compares with it (set PRIOR_ART_PYTHON to one that does)",
  };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}
