import type { CheckpointStore } from "../checkpoint.ts";

const CACHE = "prior-art-checkpoints";
const addressOf = (id: string) => new URL(`/checkpoints/${id}.safetensors`, self.location.href).href;

/** The browser's cache, then the files of the site that the page came from. */
export const defaultStore: CheckpointStore = {
  async read(id) {
    const cached = await openCache().then((cache) => cache?.match(addressOf(id)));
    const response = cached ?? (await fetch(addressOf(id)).catch(() => undefined));
    return response?.ok ? new Uint8Array(await response.arrayBuffer()) : undefined;
  },
  async write(id, file) {
    await openCache().then((cache) => cache?.put(addressOf(id), new Response(file)));
  },
};

/** `undefined` where pages have no cache (not a secure context, storage refused). */
async function openCache(): Promise<Cache | undefined> {
  try {
    return await caches.open(CACHE);
  } catch {
    return undefined;
  }
}
