import { readFile } from "node:fs/promises";
import { type Board, byProblem, leaderboard, type Results } from "@prior-art/lab";
import { familyResults, reproductionFiles, roomResults } from "@prior-art/lab/node";
import {
  InvalidTokenError,
  type Library,
  type Mailer,
  type Paper,
  type SearchPage,
  type SearchRequest,
  sendConfirmation,
  type TrendingWindow,
} from "@prior-art/library";
import { experiments, findRoom, rooms, tasks } from "@prior-art/methods";
import { checkpointFile } from "@prior-art/toolkit/checkpoints";
import type { AnyExperiment } from "@prior-art/toolkit/experiment";
import { cached } from "./cached.ts";
import { atomFeed, type FeedContent } from "./feeds.ts";
import { type FigureSize, figuresIn, sizeOfFigure } from "./figures.ts";
import { type PaperPage, paperPage } from "./papers.ts";
import { type RunSetup, runSetup } from "./runSetup.ts";
import { type PaperSummary, summaryOf } from "./summary.ts";

/** What the site stands on. */
export interface SiteOptions {
  readonly library: Library;
  readonly mailer: Mailer;
  /** Address of the site without a slash at the end; links in mails and feeds lead there. */
  readonly address: string;
  readonly dataFolder: string;
  /** Told of what went wrong, one line each. */
  readonly log: (message: string) => void;
}

export interface ListedPaper extends PaperSummary {
  readonly votes: number;
  readonly ownVote: boolean;
}

export interface FamilyCard {
  readonly family: string;
  readonly papers: number;
  readonly implemented: number;
  readonly hasTask: boolean;
}

export interface Leaderboard {
  readonly family: string;
  readonly metric: string;
  readonly goal: "minimize" | "maximize";
  /** Metrics shown beside the one that ranks. */
  readonly also: readonly string[];
  readonly boards: readonly Board[];
  readonly seeds: number;
  readonly finishedAt: string;
  readonly machine: string;
  readonly figure: FigureSize | null;
}

/** Seconds for which pages may show what was true before. */
const FRESH = 30;

/** What the pages and the API show and do, without a word of HTTP. */
export class Site {
  readonly library: Library;
  readonly address: string;
  readonly #mailer: Mailer;
  readonly #dataFolder: string;
  readonly #log: (message: string) => void;
  readonly #figures: ReturnType<typeof figuresIn>;
  readonly #results: (slug: string) => Promise<Results | undefined>;
  readonly #familyResults: (family: string) => Promise<Results | undefined>;
  readonly #page: (id: string) => Promise<PaperPage | undefined>;
  readonly #similar: (id: string) => Promise<Paper[]>;
  readonly #trending: (key: string) => Promise<Paper[]>;
  readonly #families: (key: "all") => Promise<FamilyCard[]>;
  /** Hundreds of bootstrap intervals a family, which change with its results alone. */
  readonly #boards = new WeakMap<Results, readonly Board[]>();

  constructor({ library, mailer, address, dataFolder, log }: SiteOptions) {
    this.library = library;
    this.address = address;
    this.#mailer = mailer;
    this.#dataFolder = dataFolder;
    this.#log = log;
    this.#figures = figuresIn(dataFolder);
    this.#results = cached(FRESH, async (slug) => {
      const room = findRoom(slug);
      return room && roomResults(room, dataFolder, log);
    });
    this.#familyResults = cached(FRESH, (family) => familyResults(family, dataFolder, log));
    this.#page = cached(FRESH, async (id) => {
      const paper = await library.paper(id);
      if (!paper) return undefined;
      const results = await this.#results(paper.id);
      const figure = await this.figure(paper.id).catch((error: Error) => {
        log(`the figure of ${paper.id} cannot be drawn: ${error.message}`);
        return undefined;
      });
      return paperPage(paper, findRoom(paper.id), results, figure ? sizeOfFigure(figure) : null);
    });
    this.#similar = cached(60, (id) => library.similar(id, 6));
    this.#trending = cached(5, async (key) => {
      const [window, family, limit] = JSON.parse(key) as [TrendingWindow, string | null, number];
      const request = { window, limit, ...(family === null ? {} : { family }) };
      return (await library.trending(request)).map(({ paper }) => paper);
    });
    this.#families = cached(60, async () =>
      (await library.families()).map(({ family, papers }) => ({
        family,
        papers,
        implemented: rooms.filter((room) => room.paper.family === family && room.loadExperiment).length,
        hasTask: Object.hasOwn(tasks, family),
      })),
    );
  }

  /** Whether the database answers within two seconds. */
  async isReachable(): Promise<boolean> {
    const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 2000).unref());
    const answer = this.library.database.execute("select 1").then(
      () => true,
      () => false,
    );
    return Promise.race([answer, late]);
  }

  /** Papers by trend, with their votes. */
  async trending(
    window: TrendingWindow,
    voter?: string,
    family?: string,
    limit = 20,
  ): Promise<ListedPaper[]> {
    return this.#withVotes(await this.trendingPapers(window, family, limit), voter);
  }

  /** Papers by trend. */
  trendingPapers(window: TrendingWindow, family: string | undefined, limit: number): Promise<Paper[]> {
    return this.#trending(JSON.stringify([window, family ?? null, limit]));
  }

  families(): Promise<FamilyCard[]> {
    return this.#families("all");
  }

  /** All papers of a family, those that can be used first, then by year; empty when there is no such family. */
  async papersOf(family: string, voter?: string): Promise<ListedPaper[]> {
    const papers = await this.#allOf(family);
    papers.sort(
      (a, b) =>
        Number(b.hasMethod) - Number(a.hasMethod) ||
        (b.year ?? 0) - (a.year ?? 0) ||
        a.title.localeCompare(b.title),
    );
    return this.#withVotes(papers, voter);
  }

  /** A family's papers, those that came last first. */
  async newestOf(family: string, limit: number): Promise<Paper[]> {
    const papers = await this.#allOf(family);
    return papers.sort((a, b) => b.addedAt.getTime() - a.addedAt.getTime()).slice(0, limit);
  }

  /** An Atom feed of papers of this site. */
  feed(content: Omit<FeedContent, "site">): string {
    return atomFeed({ ...content, site: this.address });
  }

  /** See {@link Library.search}. */
  search(request: SearchRequest): Promise<SearchPage> {
    return this.library.search(request);
  }

  /** A paper by its id, arXiv id or DOI, for what needs no page. */
  find(reference: string): Promise<Paper | undefined> {
    return this.library.paper(reference);
  }

  /** What a paper's page shows; `undefined` when there is no such paper. Id, arXiv id and DOI all name one. */
  paper(reference: string): Promise<PaperPage | undefined> {
    return this.#page(reference);
  }

  similar(id: string): Promise<Paper[]> {
    return this.#similar(id);
  }

  async votes(id: string, voter?: string): Promise<{ votes: number; own: boolean }> {
    const counts = await this.library.votes.count([id], this.#validVoter(voter));
    return counts.get(id) ?? { votes: 0, own: false };
  }

  /** A paper's newest full results. */
  results(id: string): Promise<Results | undefined> {
    return this.#results(id);
  }

  /** What a page needs to offer a run of a paper's experiment, or of a family's shared task; `undefined` without one. */
  async runOf(name: string, kind: "paper" | "family" = "paper"): Promise<RunSetup | undefined> {
    const load = (kind === "paper" ? experiments : tasks)[name];
    return load && runSetup((await load()).default);
  }

  /** Figure of a paper's newest full results as an SVG document; `undefined` while there are none. */
  async figure(id: string): Promise<string | undefined> {
    const results = await this.#results(id);
    const load = findRoom(id)?.loadExperiment;
    if (!results || !load) return undefined;
    return this.#figures.figure(results, async () => (await load()).default);
  }

  /** Figure of a family's comparison as an SVG document. */
  async comparisonFigure(family: string): Promise<string | undefined> {
    const results = await this.#familyResults(family);
    const load = tasks[family];
    if (!results || !load) return undefined;
    return this.#figures.figure(results, async () => (await load()).default as AnyExperiment);
  }

  /** Preview of a link to a paper, a PNG of 1200 × 630; `undefined` when there is no such paper. */
  async card(id: string): Promise<Uint8Array | undefined> {
    const paper = await this.find(id);
    if (!paper) return undefined;
    const { title, authors, year, verdict } = paper;
    const names = authors.length > 2 ? `${authors[0]} et al.` : authors.join(", ");
    const subtitle = [names, year].filter(Boolean).join(", ");
    return this.#figures.card({ title, subtitle, verdict, figure: await this.figure(paper.id) });
  }

  /** The standalone report of a reproduction on this machine. */
  async report(id: string): Promise<string | undefined> {
    if (!findRoom(id)) return undefined;
    return readFile(reproductionFiles(this.#dataFolder, id, "full").report, "utf8").catch(() => undefined);
  }

  /** A pretrained model that experiments share, when this machine has it. */
  async checkpoint(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const [, id] = /^([a-z0-9-]+)\.safetensors$/.exec(name) ?? [];
    const file = id === undefined ? undefined : await checkpointFile(id);
    return file && new Uint8Array(file);
  }

  /** A family's leaderboard; `undefined` while there is none. */
  async leaderboard(family: string): Promise<Leaderboard | undefined> {
    const results = await this.#familyResults(family);
    const load = tasks[family];
    if (!results || !load) return undefined;
    const { default: experiment } = await load();
    const { metric, goal, also = [] } = experiment.leaderboard!;
    const { cpu, cores } = results.environment.machine;
    const figure = await this.comparisonFigure(family);
    return {
      family,
      metric,
      goal,
      also,
      boards: this.#boardsOf(experiment, results),
      seeds: results.seeds.length,
      finishedAt: results.finishedAt,
      machine: `${cpu}, ${cores} cores`,
      figure: figure ? sizeOfFigure(figure) : null,
    };
  }

  /**
   * Takes a subscription and sends the confirmation when one is due. The same answer in every case, so that nobody
   * learns who subscribed: a mail that cannot be sent is logged, not told.
   *
   * @throws InvalidSubscriptionError
   */
  async subscribe(request: unknown): Promise<void> {
    const result = await this.library.subscriptions.subscribe(request);
    // Not awaited: how long it takes would tell whether a mail was due.
    sendConfirmation(result, { mailer: this.#mailer, site: this.address }).catch((error: Error) =>
      this.#log(`a confirmation could not be sent: ${error.message}`),
    );
  }

  /** A voter's token that is still good, else `undefined`: a bad cookie is no reason to refuse a page. */
  #validVoter(token: string | undefined): string | undefined {
    if (token === undefined) return undefined;
    try {
      this.library.tokens.verify("voter", token, new Date());
      return token;
    } catch (error) {
      if (error instanceof InvalidTokenError) return undefined;
      throw error;
    }
  }

  /** The voter's own token when it is good, else a new one. */
  voter(token: string | undefined): string {
    return this.#validVoter(token) ?? this.library.votes.newVoter();
  }

  #boardsOf(experiment: AnyExperiment, results: Results): readonly Board[] {
    const boards = this.#boards.get(results) ?? byProblem(leaderboard(experiment, results));
    this.#boards.set(results, boards);
    return boards;
  }

  async #allOf(family: string): Promise<Paper[]> {
    const papers: Paper[] = [];
    let after: string | undefined;
    do {
      const page = await this.library.papers({ family }, { limit: 100, after });
      papers.push(...page.papers);
      after = page.next;
    } while (after !== undefined);
    return papers;
  }

  async #withVotes(papers: readonly Paper[], voter: string | undefined): Promise<ListedPaper[]> {
    const ids = papers.map(({ id }) => id);
    const counts = await this.library.votes.count(ids, this.#validVoter(voter));
    return papers.map((paper) => {
      const { votes, own } = counts.get(paper.id) ?? { votes: 0, own: false };
      return { ...summaryOf(paper), votes, ownVote: own };
    });
  }
}
