import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { inMemory, inThread, reproduce } from "@prior-art/lab";
import { createMailer, mailSettingsFrom, sendDigests } from "@prior-art/library";
import { experiments } from "@prior-art/methods";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { chromiumPath, launchBrowser } from "./testing/browser.ts";
import { type MailServer, startMailServer } from "./testing/mailServer.ts";
import { type OpenedSite, openSite } from "./testing/openSite.ts";

const PAPER = "stacked-policy-mirror-descent";
const READING_PAGES = [
  "/",
  "/families",
  "/families/optimizers",
  "/search?q=wrong+labels",
  `/papers/${PAPER}`,
  `/compare?papers=${PAPER}&papers=decoupled-weight-decay`,
  "/compare/robustness",
  "/subscribe",
  "/about",
  "/api",
  "/papers/early-lerning",
  "/confirm/forged",
  "/unsubscribe/forged",
];
/** Compressed script that a reading page may load. */
const SCRIPT_BUDGET = 100_000;
/** Milliseconds that anything may take on a slow, busy machine. */
const PATIENCE = 100_000;

describe.runIf(chromiumPath)("in a browser", () => {
  let opened: OpenedSite;
  let mail: MailServer;
  let browser: Browser;

  beforeAll(async () => {
    mail = await startMailServer();
    [opened, browser] = await Promise.all([openSite({ smtpUrl: mail.url }), launchBrowser()]);
  });
  afterAll(async () => {
    await browser?.close();
    await opened?.close();
    await mail?.close();
  });

  /** A page of a visitor of its own; every complaint of the browser fails the test. */
  async function visit(path: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ baseURL: opened.address, ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      const text = message.text();
      if (["error", "warning"].includes(message.type()) && !/status of 4\d\d|net::ERR_/.test(text))
        complaints.push(text);
    });
    onTestFinished(() => context.close());
    onTestFinished(() => expect(complaints).toEqual([]));
    await page.goto(path);
    return page;
  }

  describe("every page", () => {
    test.each(READING_PAGES)("%s is accessible, steady and light", async (path) => {
      const sizes: number[] = [];
      for (const colorScheme of ["light", "dark"] as const) {
        const context = await browser.newContext({ baseURL: opened.address, colorScheme });
        context.setDefaultTimeout(PATIENCE);
        onTestFinished(() => context.close());
        const page = await context.newPage();
        await countScripts(page, sizes);
        await page.goto(path, { waitUntil: "networkidle" });
        expect(await violations(page)).toEqual([]);
        expect(await layoutShift(page)).toBeLessThan(0.02);
        if (colorScheme === "light") expect(sizes.reduce((a, b) => a + b, 0)).toBeLessThan(SCRIPT_BUDGET);
      }
    });

    test.each(READING_PAGES)("%s fits a phone", async (path) => {
      const page = await visit(path, { viewport: { width: 360, height: 740 } });
      const excess = () =>
        page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(await excess()).toBeLessThanOrEqual(0);
    });

    describe.runIf(process.env.SCREENSHOTS)("screenshots are kept", () => {
      const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } } as const;
      test.each([
        ["phone", "light"],
        ["phone", "dark"],
        ["desktop", "light"],
        ["desktop", "dark"],
      ] as const)("%s, %s", async (device, colorScheme) => {
        const folder = process.env.SCREENSHOTS!;
        await mkdir(folder, { recursive: true });
        const page = await visit("/", { viewport: sizes[device], colorScheme });
        for (const path of READING_PAGES) {
          await page.goto(path, { waitUntil: "networkidle" });
          const name = path.replaceAll(/[^a-z]+/g, "-").replaceAll(/^-|-$/g, "") || "home";
          await page.screenshot({
            path: join(folder, `${name}-${device}-${colorScheme}.png`),
            fullPage: true,
          });
        }
      });
    });
  });

  describe("search", () => {
    test("answers while one types, keeps the words in the address, and filters", async () => {
      const page = await visit("/search");
      await page.getByRole("searchbox").pressSequentially("memorizes wrong labels", { delay: 5 });
      const hit = page.getByRole("link", { name: /Early-Learning Regularization/ });
      await hit.waitFor();
      await page.waitForURL(/q=memorizes\+wrong\+labels/);
      expect(await page.locator("mark").count()).toBeGreaterThan(0);
      await page.getByLabel("Family").selectOption("optimizers");
      await hit.waitFor({ state: "detached" });
      expect(page.url()).toContain("family=optimizers");
      await page.getByLabel("Verdict").selectOption("partly");
      await page.getByRole("link", { name: /Decoupled Weight Decay/ }).waitFor();
      await page.reload();
      expect(await page.getByLabel("Family").inputValue()).toBe("optimizers");
    });

    test("what is typed while an answer is on its way stays, and is searched for", async () => {
      const page = await visit("/search");
      await page.waitForLoadState("networkidle");
      const asked: string[] = [];
      let answer!: () => void;
      const held = new Promise<void>((resolve) => {
        answer = resolve;
      });
      await page.context().route(/search\/__data\.json/, async (route) => {
        asked.push(new URL(route.request().url()).searchParams.get("q")!);
        if (asked.length === 1) await held;
        await route.continue();
      });
      const words = page.getByRole("searchbox");
      await words.pressSequentially("memorizes ");
      await expect.poll(() => asked).toEqual(["memorizes "]);
      // Its answer comes while more is being typed.
      const answered = page.waitForResponse(/search\/__data\.json/);
      answer();
      await answered;
      await page.waitForURL(/q=memorizes/);
      await words.pressSequentially("wrong labels");
      await page.waitForURL(/q=memorizes\+wrong\+labels/);
      expect(await words.inputValue()).toBe("memorizes wrong labels");
    });

    test("typed words and chosen filters follow the browser's way back", async () => {
      const page = await visit("/search?q=weight+decay&family=optimizers");
      await page.getByRole("link", { name: /Decoupled Weight Decay Regularization/ }).click();
      await page.waitForURL(/\/papers\/decoupled-weight-decay$/);
      await page.goBack();
      await page.waitForURL(/family=optimizers/);
      await expect.poll(() => page.getByRole("searchbox").inputValue()).toBe("weight decay");
      expect(await page.getByLabel("Family").inputValue()).toBe("optimizers");
    });

    test("a slip of the pen is read as the nearest word, and said so", async () => {
      const page = await visit("/search?q=memorizzes");
      expect(await page.getByText(/was read as/).count()).toBe(1);
    });

    test("the keyboard alone finds a paper", async () => {
      const page = await visit("/");
      await page.keyboard.press("Tab");
      expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to content");
      await page.keyboard.press("Enter");
      await page.keyboard.press("Tab");
      expect(await page.evaluate(() => (document.activeElement as HTMLInputElement).name)).toBe("q");
      await page.keyboard.type("decoupled weight decay");
      await page.keyboard.press("Enter");
      await page.waitForURL(/\/search\?q=decoupled/);
      const link = page.getByRole("link", { name: /Decoupled Weight Decay Regularization/ });
      await link.focus();
      await page.keyboard.press("Enter");
      await page.waitForURL(/\/papers\/decoupled-weight-decay$/);
    });
  });

  describe("running a paper", () => {
    test("curves grow, and the verdict has the numbers of the command line for the same seeds", async () => {
      const page = await visit(`/papers/${PAPER}`);
      await page.getByLabel("Seeds").fill("2");
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await page.locator("[data-phase=done]").waitFor();
      const shown = await page
        .locator("tr[data-claim]")
        .evaluateAll((rows) => rows.map((row) => [row.dataset.claim, Number(row.dataset.effect)] as const));
      const { default: experiment } = await experiments[PAPER]!();
      const here = await reproduce({
        slug: PAPER,
        experiment,
        mode: "quick",
        seeds: 2,
        executor: inThread(experiment),
        store: inMemory(),
        environment: { machine: { cpu: "", cores: 1, memoryGiB: 1, platform: "" }, versions: {} },
        codeVersion: "",
      });
      expect(shown.map(([id]) => id)).toEqual(here.claims.map(({ id }) => id));
      for (const [i, { id, effect }] of here.claims.entries()) {
        // One effect is a ratio to a residual of 1e-12, which the browser's exponential rounds differently.
        const tolerance = id === "vanilla-stalls" ? 0.05 : 1e-6;
        expect(Math.abs(shown[i]![1] - effect) / Math.max(1, Math.abs(effect)), id).toBeLessThan(tolerance);
      }
      await page.getByAltText(/Figure of this run/).waitFor();
      expect(await violations(page)).toEqual([]);
    });

    test("a run of networks shows live curves, stops at once and starts again", async () => {
      const page = await visit("/papers/early-learning-regularization");
      const run = page.getByRole("button", { name: /^Run/ });
      await page.getByLabel("Seeds").fill("1");
      await run.click();
      await page.locator("[data-phase=running]").waitFor();
      await page.getByRole("button", { name: "Stop" }).click();
      await page.locator("[data-phase=stopped]").waitFor();
      await page.getByLabel("Epochs").fill("12");
      await run.click();
      await page.locator("polyline").first().waitFor();
      await page.locator("[data-phase=done]").waitFor();
      expect(await page.locator("tr[data-claim]").count()).toBeGreaterThan(3);
    });

    test("a setting that makes no sense is a message, not a broken page", async () => {
      const page = await visit("/papers/early-learning-regularization");
      await page.getByLabel("Epochs").fill("-5");
      await page.getByRole("button", { name: /^Run/ }).click();
      await page.getByRole("alert").waitFor();
      expect((await page.getByRole("alert").textContent())!.length).toBeGreaterThan(5);
    });
  });

  test("a visitor's second vote takes the first one back", async () => {
    const page = await visit("/papers/fira");
    const button = page.locator("header").getByRole("button", { name: /vote/ });
    expect(await button.textContent()).toMatch(/0/);
    await button.click();
    await expect.poll(() => button.getAttribute("aria-pressed")).toBe("true");
    expect(await button.textContent()).toMatch(/1/);
    await page.reload();
    expect(await button.getAttribute("aria-pressed")).toBe("true");
    await button.click();
    await expect.poll(() => button.getAttribute("aria-pressed")).toBe("false");
  });

  test("two papers stand side by side", async () => {
    const page = await visit("/compare");
    await page.getByLabel("Paper 1").selectOption(PAPER);
    await page.getByLabel("Paper 2").selectOption("decoupled-weight-decay");
    await page.getByRole("button", { name: "Compare" }).click();
    await page.waitForURL(/papers=decoupled/);
    expect(await page.locator("thead th").count()).toBe(3);
  });

  describe("a subscription", () => {
    const address = "reader@example.org";
    const linkIn = (text: string | undefined, path: string) =>
      new RegExp(`https?://\\S+/${path}/[\\w.-]+`).exec(text ?? "")![0];

    test.each([
      ["with scripts", true],
      ["without scripts", false],
    ])("%s: subscribe, confirm, get the digest, change, unsubscribe", async (_, javaScriptEnabled) => {
      const email = `${javaScriptEnabled ? "with" : "without"}.${address}`;
      const page = await visit("/subscribe", { javaScriptEnabled });
      await page.getByLabel("Mail address").fill(email);
      await page.getByLabel("From this hour").selectOption("0");
      await page.getByRole("button", { name: "Subscribe" }).click();
      await page.getByText("Look into your inbox").waitFor();

      await page.goto(linkIn((await mail.mailTo(email)).text, "confirm"));
      await page.getByRole("button", { name: "Confirm" }).click();
      await page.getByText("Confirmed.").waitFor();

      const environment = { SMTP_URL: mail.url, PRIOR_ART_SITE: opened.address };
      const mailer = createMailer(mailSettingsFrom(environment));
      await sendDigests(opened.library, { mailer, site: opened.address, now: () => new Date() });
      mailer.close();
      const digest = await mail.mailTo(email);
      expect(digest.text).toContain(`${opened.address}/papers/`);

      await page.goto(linkIn(digest.text, "subscription"));
      await page.getByLabel("How often").selectOption("weekly");
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Changed.").waitFor();
      expect(await page.getByLabel("How often").inputValue()).toBe("weekly");

      await page.goto(linkIn(digest.text, "unsubscribe"));
      await page.getByRole("button", { name: "Unsubscribe" }).click();
      await page.getByText("Ended.").waitFor();
    });
  });

  test("without scripts one can read, search, vote and choose colours", async () => {
    const page = await visit("/", { javaScriptEnabled: false });
    await page.getByRole("searchbox").fill("wrong labels");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByRole("link", { name: /Early-Learning/ }).click();
    await page.getByRole("heading", { level: 1, name: /Early-Learning/ }).waitFor();
    const vote = page.locator("header").getByRole("button", { name: /vote/ });
    await vote.click();
    await expect.poll(() => vote.getAttribute("aria-pressed")).toBe("true");
    await page.getByRole("button", { name: "Colours: auto" }).click();
    await expect.poll(() => page.locator("html").getAttribute("data-theme")).toBe("dark");
  });

  test("a chosen theme wins over the system's, and is kept", async () => {
    const page = await visit("/about", { colorScheme: "light" });
    const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await background();
    await page.getByRole("button", { name: "Colours: auto" }).click();
    await page.locator("html[data-theme=dark]").waitFor();
    await expect.poll(background).not.toBe(light);
    await page.goto("/families");
    expect(await background()).not.toBe(light);
  });

  test("a page that was seen is there without a network", async () => {
    const page = await visit("/");
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    await page.goto(`/papers/${PAPER}`, { waitUntil: "networkidle" });
    await page.waitForFunction((path) => caches.match(path), `/papers/${PAPER}`);
    await (page.context() as BrowserContext).setOffline(true);
    await page.reload();
    expect(await page.getByRole("heading", { level: 1 }).textContent()).toMatch(/StaQ/);
  });

  test("the page is isolated, so that WebAssembly may use threads", async () => {
    const page = await visit(`/papers/${PAPER}`);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  });
});

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** What axe finds wrong, one line each. It is evaluated by the debugger, which no content policy stops. */
async function violations(page: Page): Promise<string[]> {
  const { readFile } = await import("node:fs/promises");
  await page.evaluate(await readFile(axe, "utf8"));
  return page.evaluate(async () => {
    // @ts-expect-error axe is a global of the page now
    const { violations } = await globalThis.axe.run(document);
    return violations.map(
      ({ id, nodes }: { id: string; nodes: { html: string }[] }) =>
        `${id}: ${nodes.map(({ html }) => html).join(" ")}`,
    );
  });
}

/** Bytes of each script on the way. */
async function countScripts(page: Page, sizes: number[]): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const scripts = new Set<string>();
  await session.send("Network.enable");
  session.on("Network.responseReceived", ({ requestId, type }) => {
    if (type === "Script") scripts.add(requestId);
  });
  session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    if (scripts.has(requestId)) sizes.push(encodedDataLength);
  });
}

/** Sum of the layout shifts so far. */
function layoutShift(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        new PerformanceObserver((list) =>
          resolve(
            list
              .getEntries()
              .reduce((sum, entry) => sum + (entry as PerformanceEntry & { value: number }).value, 0),
          ),
        ).observe({ type: "layout-shift", buffered: true });
        setTimeout(() => resolve(0), 200);
      }),
  );
}
