import { Body } from "@react-email/body";
import { Container } from "@react-email/container";
import { Head } from "@react-email/head";
import { Heading } from "@react-email/heading";
import { Hr } from "@react-email/hr";
import { Html } from "@react-email/html";
import { Link } from "@react-email/link";
import { Preview } from "@react-email/preview";
import { render } from "@react-email/render";
import { Section } from "@react-email/section";
import { Text } from "@react-email/text";
import type { CSSProperties, ReactElement, ReactNode } from "react";
import type { Paper } from "../collection/paper.ts";
import type { Mail } from "./mailer.ts";

/** Builds addresses of pages of the site. */
export interface SiteLinks {
  /** Address of the site without a slash at the end, such as `https://papers.example.org`. */
  readonly site: string;
}

export interface DigestMailContent {
  readonly papers: readonly Paper[];
  readonly frequency: "daily" | "weekly";
  /** The subscriber's local date, `YYYY-MM-DD`. */
  readonly day: string;
  readonly tokens: { readonly unsubscribe: string; readonly manage: string };
}

const SANS = "-apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif";
const styles = {
  body: { backgroundColor: "#f6f6f4", fontFamily: SANS, margin: "0", padding: "24px 0" },
  container: { backgroundColor: "#ffffff", maxWidth: "600px", padding: "24px 32px" },
  heading: { fontSize: "20px", margin: "0 0 16px" },
  paper: { margin: "0 0 24px" },
  title: { color: "#0b4f8a", fontSize: "16px", fontWeight: "600", textDecoration: "none" },
  facts: { color: "#5c5c5c", fontSize: "13px", lineHeight: "18px", margin: "4px 0" },
  summary: { color: "#222222", fontSize: "14px", lineHeight: "21px", margin: "4px 0" },
  footer: { color: "#5c5c5c", fontSize: "12px", lineHeight: "18px" },
} satisfies Record<string, CSSProperties>;

const LONGEST_SUMMARY = 400;

/** The one-click address that mail programs post to (RFC 8058) and that people may open. */
export const unsubscribeAddress = ({ site }: SiteLinks, token: string): string =>
  `${site}/unsubscribe/${token}`;

const manageAddress = ({ site }: SiteLinks, token: string): string => `${site}/subscription/${token}`;
const confirmAddress = ({ site }: SiteLinks, token: string): string => `${site}/confirm/${token}`;
const paperAddress = ({ site }: SiteLinks, id: string): string => `${site}/papers/${encodeURIComponent(id)}`;

/** Stand for a subscriber's tokens in a letter that several subscribers get. */
const PLACEHOLDERS = { unsubscribe: "unsubscribe-token-here", manage: "manage-token-here" };

/** Most different letters kept; subscribers with the same interests share one. */
const MOST_LETTERS = 200;

/** Builds digests. Laying out a letter takes much longer than addressing it, so equal letters are laid out once. */
export class DigestLetters {
  readonly #links: SiteLinks;
  readonly #letters = new Map<string, Promise<Mail>>();

  constructor(links: SiteLinks) {
    this.#links = links;
  }

  /** Subject, HTML part and text part of a digest. React escapes every piece of third-party text. */
  async write({ tokens, ...content }: DigestMailContent): Promise<Mail> {
    const key = JSON.stringify([content.day, content.frequency, content.papers.map(({ id }) => id)]);
    let letter = this.#letters.get(key);
    if (!letter) {
      letter = layOut(content, this.#links);
      if (this.#letters.size >= MOST_LETTERS) this.#letters.clear();
      this.#letters.set(key, letter);
    }
    const { subject, html, text } = await letter;
    // Tokens consist of letters, digits, dots and dashes, so they mean the same in HTML and in text.
    const address = (part: string) =>
      part
        .replaceAll(PLACEHOLDERS.unsubscribe, tokens.unsubscribe)
        .replaceAll(PLACEHOLDERS.manage, tokens.manage);
    return { subject, html: address(html), text: address(text) };
  }
}

async function layOut(
  { papers, frequency, day }: Omit<DigestMailContent, "tokens">,
  links: SiteLinks,
): Promise<Mail> {
  const period = frequency === "daily" ? "today" : "this week";
  const subject =
    papers.length === 1 ? `Trending: ${papers[0]!.title}` : `${papers.length} papers trending ${period}`;
  const element = (
    <Letter preview={papers.map(({ title }) => title).join(" · ")} title={`Trending papers, ${day}`}>
      {papers.map((paper) => (
        <PaperEntry key={paper.id} paper={paper} address={paperAddress(links, paper.id)} />
      ))}
      <Hr />
      <Text style={styles.footer}>
        You get this {frequency} because you subscribed.{" "}
        <Link href={manageAddress(links, PLACEHOLDERS.manage)}>Change</Link> what you get, or{" "}
        <Link href={unsubscribeAddress(links, PLACEHOLDERS.unsubscribe)}>unsubscribe</Link> at any time.
      </Text>
    </Letter>
  );
  return { subject: headerText(subject), ...(await bothParts(element)) };
}

/** The mail that asks whether an address may be written to. */
export async function confirmationMail(token: string, links: SiteLinks): Promise<Mail> {
  const address = confirmAddress(links, token);
  const element = (
    <Letter preview="One click and the digest starts" title="Confirm your subscription">
      <Text style={styles.summary}>
        Somebody, hopefully you, asked for trending papers at this address. If it was not you, do nothing: no
        further mail will come.
      </Text>
      <Text style={styles.summary}>
        <Link href={address}>Confirm the subscription</Link>
      </Text>
    </Letter>
  );
  return { subject: "Confirm your subscription to trending papers", ...(await bothParts(element)) };
}

function Letter({ title, preview, children }: { title: string; preview: string; children: ReactNode }) {
  return (
    <Html lang="en">
      <Head />
      <Preview>{preview.slice(0, 140)}</Preview>
      <Body style={styles.body}>
        <Container style={styles.container}>
          <Heading as="h1" style={styles.heading}>
            {title}
          </Heading>
          {children}
        </Container>
      </Body>
    </Html>
  );
}

function PaperEntry({ paper, address }: { paper: Paper; address: string }) {
  const names = paper.authors.slice(0, 3).join(", ") + (paper.authors.length > 3 ? " and others" : "");
  const facts = [names, paper.year, paper.family, paper.verdict].filter(Boolean).join(" · ");
  return (
    <Section style={styles.paper}>
      <Link href={address} style={styles.title}>
        {paper.title}
      </Link>
      <Text style={styles.facts}>{facts}</Text>
      <Text style={styles.summary}>{shorten(paper.summary)}</Text>
    </Section>
  );
}

async function bothParts(element: ReactElement): Promise<{ html: string; text: string }> {
  return { html: await render(element), text: await render(element, { plainText: true }) };
}

function shorten(text: string): string {
  if (text.length <= LONGEST_SUMMARY) return text;
  return `${text.slice(0, text.lastIndexOf(" ", LONGEST_SUMMARY))} …`;
}

/** Headers are one line; papers are stored without control characters, but a header must not depend on that. */
const headerText = (text: string): string => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").slice(0, 200);
