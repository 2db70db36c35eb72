import { fileURLToPath } from "node:url";
import { writeAtomically } from "@prior-art/lab/node";
import { rooms, tasks } from "@prior-art/methods";
import { checkpointFile } from "@prior-art/toolkit/checkpoints";
import type { PretrainedModel } from "@prior-art/toolkit/experiment";
import type { Command } from "commander";
import { columns, duration } from "../columns.ts";
import { dataOption, requireWritable } from "../dataFolder.ts";
import { notice } from "../notice.ts";
import { UsageError } from "../usage.ts";

export function register(program: Command): void {
  program
    .command("pretrain")
    .argument("[name...]", "models; all that experiments share by default")
    .description("train the small models that experiments share, once")
    .option("--save", "keep the models with the toolkit, so that others need not train them")
    .option("--json", "print one JSON document")
    .addOption(dataOption())
    .action(pretrain);
}

interface Pretrained {
  readonly name: string;
  readonly id: string;
  readonly seconds: number;
  /** It was there already. */
  readonly stored: boolean;
}

async function pretrain(
  names: string[],
  options: { save?: boolean; json?: boolean; data: string },
): Promise<void> {
  await requireWritable(options.data);
  const models = await sharedModels();
  const unknown = names.find((name) => !models.has(name));
  if (unknown !== undefined)
    throw new UsageError(
      `there is no model "${unknown}"; models: ${[...models.keys()].join(", ") || "none"}`,
    );
  const done: Pretrained[] = [];
  for (const name of names.length ? names : [...models.keys()].sort()) {
    const model = models.get(name)!;
    const stored = await model.isStored();
    if (!stored) notice(`training ${name}`);
    const started = performance.now();
    await model.load();
    const id = await model.id();
    if (options.save) await ship(id);
    done.push({ name, id, seconds: (performance.now() - started) / 1000, stored });
  }
  if (options.json) {
    process.stdout.write(`${JSON.stringify(done, null, 1)}\n`);
    return;
  }
  const rows = done.map(({ name, id, seconds, stored }) => [name, id, stored ? "stored" : duration(seconds)]);
  process.stdout.write(columns(["model", "stored as", "training"], rows));
}

async function ship(id: string): Promise<void> {
  const target = new URL(`../../../toolkit/checkpoints/${id}.safetensors`, import.meta.url);
  await writeAtomically(fileURLToPath(target), (await checkpointFile(id))!);
}

/** The models that the experiments and shared tasks declare, by name. */
async function sharedModels(): Promise<Map<string, PretrainedModel>> {
  const loaders = [...rooms.map(({ loadExperiment }) => loadExperiment), ...Object.values(tasks)];
  const models = new Map<string, PretrainedModel>();
  for (const load of loaders) {
    const { default: experiment } = (await load?.()) ?? {};
    for (const model of experiment?.checkpoints ?? []) models.set(model.name, model);
  }
  return models;
}
