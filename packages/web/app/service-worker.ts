/// <reference types="@sveltejs/kit" />
/// <reference no-default-lib="true"/>
/// <reference lib="esnext" />
/// <reference lib="webworker" />
import { build, files, version } from "$service-worker";

const worker = self as unknown as ServiceWorkerGlobalScope;
const ASSETS = `assets-${version}`;
const PAGES = "pages";
const MOST_PAGES = 300;
/** Scripts of runs are kept when they are first used; everything else a page needs, at once. */
const firstAssets = [
  ...build.filter((path) => /\/(start|app|nodes|chunks|assets\/[^/]+\.css)/.test(path)),
  ...files,
];

worker.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(ASSETS)
      .then((cache) => cache.addAll(firstAssets))
      .then(() => worker.skipWaiting()),
  );
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys().then(async (names) => {
      const old = names.filter((name) => name.startsWith("assets-") && name !== ASSETS);
      await Promise.all(old.map((name) => caches.delete(name)));
      await worker.clients.claim();
    }),
  );
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== worker.location.origin) return;
  // Links of one person stay out of the cache.
  if (/^\/(confirm|subscription|unsubscribe|api)\//.test(url.pathname)) return;
  event.respondWith(url.pathname.startsWith("/_app/immutable/") ? fromCache(request) : fromNetwork(request));
});

/** Files whose names change with their content. */
async function fromCache(request: Request): Promise<Response> {
  const cache = await caches.open(ASSETS);
  const cached = await cache.match(request);
  if (cached) return cached;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}

/** The newest when there is a network, else what was seen last. */
async function fromNetwork(request: Request): Promise<Response> {
  const cache = await caches.open(PAGES);
  try {
    const response = await fetch(request);
    if (response.ok && response.type === "basic") {
      await cache.put(request, response.clone());
      const kept = await cache.keys();
      if (kept.length > MOST_PAGES) await cache.delete(kept[0]!);
    }
    return response;
  } catch (error) {
    const cached = (await cache.match(request)) ?? (await caches.match(request));
    if (cached) return cached;
    throw error;
  }
}
