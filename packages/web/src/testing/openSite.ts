import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { roomResults } from "@prior-art/lab/node";
import { createMailer, type Library, mailSettingsFrom, openLibrary } from "@prior-art/library";
import { rooms } from "@prior-art/methods";
import { createSiteServer } from "../server.ts";
import { Site } from "../site.ts";

/** A site with the built-in collection, listening on a port of its own. */
export interface OpenedSite {
  readonly address: string;
  readonly site: Site;
  readonly library: Library;
  readonly dataFolder: string;
  /** What the site logged. */
  readonly log: readonly string[];
  close(): Promise<void>;
}

/** @param smtpUrl server that mails go to; the outbox folder without it */
export async function openSite({ smtpUrl }: { readonly smtpUrl?: string } = {}): Promise<OpenedSite> {
  const dataFolder = await mkdtemp(join(tmpdir(), "prior-art-web-"));
  const library = await openLibrary({ dataDir: dataFolder });
  const log: string[] = [];
  const papers = rooms.map(async (room) => ({
    ...room.paper,
    hasMethod: room.hasMethod,
    results: await roomResults(room, dataFolder, (message) => log.push(message)),
  }));
  await library.syncCollection(await Promise.all(papers));
  const { server, open } = createSiteServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const environment = {
    PRIOR_ART_DATA: dataFolder,
    PRIOR_ART_SITE: address,
    ...(smtpUrl && { SMTP_URL: smtpUrl }),
  };
  const mailer = createMailer(mailSettingsFrom(environment));
  const site = new Site({ library, mailer, address, dataFolder, log: (message) => log.push(message) });
  await open(site);
  return {
    address,
    site,
    library,
    dataFolder,
    log,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      mailer.close();
      await library.close();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
}
