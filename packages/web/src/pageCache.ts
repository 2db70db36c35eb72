import { promisify } from "node:util";
import { gzip } from "node:zlib";

const compress = promisify(gzip);

/** A page as it is sent, plain and compressed. */
interface KeptPage {
  readonly madeAt: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly gzip: Uint8Array<ArrayBuffer>;
}

/** Keeps pages that are the same for every visitor without cookies. */
export interface PageCache {
  /**
   * The answer to a request, from the cache or from `make`, whose answer is kept when it is a whole page. A page that has
   * got old is sent once more while `make` renews it, so that nobody waits for it.
   */
  answer(request: Request, make: () => Promise<Response>): Promise<Response>;
}

/** Paths whose pages depend on the address alone; the pages of mails' links and of searches are not among them. */
const SHARED = /^\/($|about$|families(\/|$)|papers\/[^/]+$|compare(\/|$))/;
/** Headers that belong to one answer. */
const PERSONAL = ["set-cookie", "content-length", "date"];

/**
 * @param seconds how old a page may be before it is renewed
 * @param longest how old it may be to be sent while it is renewed, in seconds
 * @param most pages kept; beyond that the one that was asked for longest ago goes
 */
export function pageCache({ seconds = 30, longest = 300, most = 2000 } = {}): PageCache {
  const pages = new Map<string, KeptPage>();
  const renewing = new Set<string>();

  const keep = (key: string, page: KeptPage): void => {
    pages.delete(key);
    pages.set(key, page);
    if (pages.size > most) pages.delete(pages.keys().next().value!);
  };

  /** What `make` answers, kept when it is a whole page; an answer of another kind ends the keeping. */
  const renew = async (key: string, make: () => Promise<Response>): Promise<KeptPage | Response> => {
    const response = await make();
    const isPage =
      response.status === 200 &&
      response.headers.get("content-type")?.startsWith("text/html") &&
      !response.headers.has("set-cookie");
    if (!isPage) {
      pages.delete(key);
      return response;
    }
    const plain = new Uint8Array(await response.arrayBuffer());
    const page: KeptPage = {
      madeAt: performance.now(),
      headers: [...response.headers].filter(([name]) => !PERSONAL.includes(name)),
      plain,
      gzip: new Uint8Array(await compress(plain)),
    };
    keep(key, page);
    return page;
  };

  const renewBehind = (key: string, make: () => Promise<Response>): void => {
    if (renewing.has(key)) return;
    renewing.add(key);
    renew(key, make)
      .catch(() => pages.delete(key))
      .finally(() => renewing.delete(key));
  };

  return {
    async answer(request, make) {
      const { pathname, search } = new URL(request.url);
      if (request.method !== "GET" || request.headers.has("cookie") || !SHARED.test(pathname)) return make();
      const key = pathname + search;
      const kept = pages.get(key);
      const age = kept ? (performance.now() - kept.madeAt) / 1000 : Number.POSITIVE_INFINITY;
      if (kept && age < longest) {
        keep(key, kept);
        if (age >= seconds) renewBehind(key, make);
        return send(kept, request);
      }
      const made = await renew(key, make);
      return made instanceof Response ? made : send(made, request);
    },
  };
}

function send({ headers, plain, gzip }: KeptPage, request: Request): Response {
  const compressed = /\bgzip\b/.test(request.headers.get("accept-encoding") ?? "");
  const body = compressed ? gzip : plain;
  const response = new Response(body, { headers: headers as [string, string][] });
  if (compressed) response.headers.set("Content-Encoding", "gzip");
  response.headers.append("Vary", "Accept-Encoding, Cookie");
  response.headers.set("Content-Length", String(body.byteLength));
  return response;
}
