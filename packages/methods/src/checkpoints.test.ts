import { readdirSync } from "node:fs";
import { checkpointFile, decodeTree } from "@prior-art/toolkit/checkpoints";
import { expect, test } from "vitest";
import { rooms, tasks } from "./index.ts";

const folder = new URL("../../toolkit/checkpoints/", import.meta.url);

test("every model that experiments share comes with the toolkit, and no other", async () => {
  const loaders = [...rooms.map(({ loadExperiment }) => loadExperiment), ...Object.values(tasks)];
  const ids = new Set<string>();
  for (const load of loaders) {
    const { default: experiment } = (await load?.()) ?? {};
    for (const model of experiment?.checkpoints ?? []) ids.add(await model.id());
  }
  const files = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  expect(files.sort(), "prior-art pretrain --save writes them").toEqual(
    [...ids].map((id) => `${id}.safetensors`).sort(),
  );
  for (const id of ids) expect(decodeTree((await checkpointFile(id))!)).toBeTypeOf("object");
});
