import { rooms, tasks } from "@prior-art/methods";
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

async function pretrain(names: string[], options: { json?: boolean; data: string }): Promise<void> {
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
    done.push({ name, id: await model.id(), seconds: (performance.now() - started) / 1000, stored });
  }
  if (options.json) {
    process.stdout.write(`${JSON.stringify(done, null, 1)}\n`);
    return;
  }
  const rows = done.map(({ name, id, seconds, stored }) => [name, id, stored ? "stored" : duration(seconds)]);
  process.stdout.write(columns(["model", "stored as", "training"], rows));
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
