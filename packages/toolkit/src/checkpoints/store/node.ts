import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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
const own = folderStore(() => join(process.env.PRIOR_ART_DATA ?? "data", "checkpoints"));
/** Small models that come with the package, so that nobody need train them. */
const shipped = folderStore(() => fileURLToPath(new URL("../../../checkpoints/", import.meta.url)));

export const defaultStore: CheckpointStore = {
  read: async (id) => (await own.read(id)) ?? (await shipped.read(id)),
  write: own.write,
};
