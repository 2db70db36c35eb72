import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointStore } from "../checkpoint.ts";

/** Files in a folder, made when the first one is written. */
export function folderStore(folder: () => string): CheckpointStore {
  const pathOf = (id: string) => join(folder(), `${id}.safetensors`);
  return {
    async read(id) {
      try {
        return await readFile(pathOf(id));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
      }
    },
    async write(id, file) {
      await mkdir(folder(), { recursive: true });
      const temporary = `${pathOf(id)}.${randomUUID()}.tmp`;
      try {
        await writeFile(temporary, file, { flush: true });
        await rename(temporary, pathOf(id));
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    },
  };
}

/** `checkpoints` in the data folder: PRIOR_ART_DATA, or `data` where the process was started. */
export const defaultStore: CheckpointStore = folderStore(() =>
  join(process.env.PRIOR_ART_DATA ?? "data", "checkpoints"),
);
