import { outboxMailer, smtpMailer } from "../digest/mailer.ts";
import { sendDigests } from "../digest/sendDigests.ts";
import { openLibrary } from "../library.ts";
import { hashingEmbedder } from "./hashingEmbedder.ts";

/** What a digest process that a test kills has to know. */
export interface DigestOrder {
  readonly dataDir?: string;
  readonly databaseUrl?: string;
  readonly outbox?: string;
  readonly smtpUrl?: string;
  readonly now: string;
}

const order = JSON.parse(process.argv[2]!) as DigestOrder;
const library = await openLibrary({
  dataDir: order.dataDir,
  databaseUrl: order.databaseUrl,
  embedder: "hashing",
  createEmbedder: async (model) => hashingEmbedder(model),
});
const from = "Prior Art <digest@papers.example.org>";
const mailer = order.smtpUrl ? smtpMailer(order.smtpUrl, from) : outboxMailer(order.outbox!, from);
process.send!("ready");
const report = await sendDigests(library, {
  mailer,
  site: "https://papers.example.org",
  now: () => new Date(order.now),
});
mailer.close();
await library.close();
process.send!({ report });
process.disconnect();
