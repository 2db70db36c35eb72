import { confirmationMail } from "../digest/digestMail.tsx";
import type { Mailer } from "../digest/mailer.ts";
import type { SubscriptionResult } from "./subscriptions.ts";

/** Sends the mail that asks for confirmation, when one is due. */
export async function sendConfirmation(
  { subscriberId, email, confirmation }: SubscriptionResult,
  { mailer, site, now = new Date() }: { mailer: Mailer; site: string; now?: Date },
): Promise<void> {
  if (confirmation === undefined) return;
  await mailer.send({
    ...(await confirmationMail(confirmation, { site })),
    to: email,
    messageId: `confirm.${now.getTime().toString(36)}.${subscriberId}@${new URL(site).hostname}`,
    date: now,
  });
}
