/**
 * The agent's own page in a real browser, on a real agent with the base model and the textile frames: signing in, the five steps of
 * the wizard in both languages, what is decided by afterwards, and one step back.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { type EdgeSite, openSite, runCli, until } from "../edge-agent/edge-site.ts";
import { baseBundle, textile } from "../support/base-bundle.ts";

const CHROMIUM = "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : "chromium is not installed (Debian: apt install chromium)";
/** Pictures of each step, for whoever wants to look: KENPIN_SCREENSHOTS=folder. */
const SHOTS = process.env["KENPIN_SCREENSHOTS"];

let site: EdgeSite;
let browser: Browser;
let page: Page;
let url = "";
let token = "";
let placed = 0;
const faults: string[] = [];

before(async () => {
  if (skip) return;
  // The page under test is the one in this tree, not the one that was built last.
  execFileSync(process.execPath, ["--conditions=kenpin-source", resolve(import.meta.dirname, "../../edge-agent/web/build.ts")]);
  const pictures = resolve(import.meta.dirname, "../../examples/textile/local");
  site = await openSite({ bundle: await baseBundle(), cameras: [{ name: "line", part: "textile" }], page: { port: 0, pictures } });
  await site.startAgent();
  url = (await readFile(join(site.config.dataDir, "page.url"), "utf8")).trim();
  token = (await readFile(join(site.config.dataDir, "page.token"), "utf8")).trim();
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
});
after(async () => {
  if (skip) return;
  await browser.close();
  await site.close();
});

test("a page that nobody signed in to shows only the sign-in, and the token file is its owner's alone", { skip }, async () => {
  const context = await browser.newContext({ locale: "ja-JP" });
  const visitor = await context.newPage();
  await visitor.goto(url);
  await visitor.getByRole("heading", { name: "検査エージェントにサインイン" }).waitFor();
  assert.equal((await visitor.request.get(`${url}/v1/state`)).status(), 401);
  await visitor.getByLabel("トークン").fill("wrong");
  await visitor.getByRole("button").click();
  await visitor.getByRole("alert").waitFor();
  await shot(visitor, "login-ja");
  await visitor.getByLabel("トークン").fill(token);
  await visitor.getByRole("button").click();
  await visitor.getByText("最初の製品を待っています…").waitFor();
  const [cookie] = await context.cookies();
  assert.equal(cookie?.httpOnly, true);
  assert.equal(cookie?.sameSite, "Strict");
  await context.close();
  assert.equal((await stat(join(site.config.dataDir, "page.token"))).mode & 0o777, 0o600);
  assert.equal((await stat(join(site.config.dataDir, "device-key.json"))).mode & 0o777, 0o600);
});

test("a link opens the page once, in the browser's language", { skip }, async () => {
  const { stdout } = await runCli(["page-link", "--config", site.configFile, "--name", "Sato"]);
  const link = stdout.trim();
  page = await open("en-US", link);
  await page.getByText("Waiting for the first part…").waitFor();
  const used = await (await browser.newContext()).newPage();
  await used.goto(link);
  await used.getByText("This link was used already").waitFor();
  await used.context().close();
});

test("live frames show up with their verdicts", { skip }, async () => {
  await play("good", 3);
  await page.getByRole("heading", { name: "Newest part" }).waitFor();
  await page.getByRole("img", { name: "The inspected part" }).waitFor();
  await shot(page, "live-en");
});

test("English: pictures, good parts, words, a look and a threshold become signed settings that decide", { skip }, async () => {
  await page.getByRole("link", { name: "Set up", exact: true }).first().click();
  await page.getByRole("heading", { name: "Where do the pictures come from?" }).waitFor();
  await page.getByRole("button", { name: "Take this picture" }).click();
  await page.getByText("1 picture so far").waitFor();
  await page.getByLabel("Choose pictures…").setInputFiles((await textile("good", 12)).map(({ file }) => file));
  await page.getByText("12 pictures so far").waitFor(); // the camera's was one of them
  await shot(page, "step1-en");
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByRole("heading", { name: "Which parts are good?" }).waitFor();
  await page.getByRole("button", { name: "All of them are good" }).click();
  await page.getByText("12 good pictures").waitFor();
  await page.keyboard.press("u");
  await page.getByText("11 good pictures").waitFor();
  await play("good", 1, 20);
  await page.keyboard.press("g");
  await page.getByText("12 good pictures").waitFor();
  await shot(page, "step2-en");
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByLabel("What is it?").fill("fabric");
  await page.keyboard.press("Enter");
  await page.getByLabel("What may be wrong?").fill("sta");
  await page.getByRole("button", { name: /^stain / }).click();
  await page.getByLabel("What may be wrong?").fill("hole, キズ");
  await page.keyboard.press("Enter");
  await page.getByRole("cell", { name: "fabric with a scratch" }).waitFor();
  await shot(page, "step3-en");
  await addBad(page);
  await page.getByRole("button", { name: "Next" }).click();
  await looked(page);
  await page.keyboard.press("b");
  await page.getByText("Words or labels changed since.").waitFor();
  await page.getByRole("button", { name: "Look again" }).click();
  await looked(page);
  await shot(page, "step4-en");
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByText("good parts about", { exact: false }).waitFor();
  await page.getByText("Nothing can be promised about bad parts until 19 more", { exact: false }).waitFor();
  assert.equal(await page.getByText("Promised, on average", { exact: false }).count(), 0);
  await page.getByLabel("taken as they came", { exact: false }).check();
  await page.getByText("at most 10 of 100 good parts are stopped", { exact: false }).waitFor();
  await shot(page, "step5-en");
  await page.getByRole("slider", { name: /^Threshold/ }).fill("0.6");
  await page.getByRole("button", { name: "Back to the proposal" }).waitFor();
  assert.equal(await page.getByLabel("Saved by").inputValue(), "Sato");
  await page.getByRole("button", { name: "Save and use" }).click();
  await page.getByText("Version 1 decides from now on.").waitFor();
  await shot(page, "saved-en");
  await page.getByRole("link", { name: "See it live" }).click();
  const before = site.inbox.verdicts.at(-1)?.settings;
  await play("good", 1, 30);
  const verdict = site.inbox.verdicts.at(-1);
  assert.notEqual(verdict?.settings, before);
  assert.equal(verdict?.threshold, 0.6);
  await page
    .locator(".facts", { hasText: verdict?.settings.slice(0, 8) ?? "" })
    .first()
    .waitFor();
  await play("local", 2);
  await shot(page, "live-after-en");
});

test("one step back decides as before, and the history says who saved what", { skip }, async () => {
  await page.getByRole("link", { name: "Settings" }).click();
  const row = page.getByRole("row", { name: /Version 1/ });
  await row.getByText("Sato").waitFor();
  await shot(page, "settings-en");
  const taken = site.inbox.verdicts[0]?.settings;
  await page.getByRole("button", { name: "Go back one step" }).click();
  await page
    .getByRole("row", { name: /As it came/ })
    .getByText("in use")
    .waitFor();
  await play("good", 1, 40);
  assert.equal(site.inbox.verdicts.at(-1)?.settings, taken);
});

test("Japanese: with neither words nor labels every step works, in Japanese alone", { skip }, async () => {
  const context = await signedIn("ja-JP");
  const visitor = await context.newPage();
  watch(visitor);
  await visitor.goto(`${url}/#setup`);
  visitor.on("dialog", (dialog) => void dialog.accept());
  await visitor.getByRole("button", { name: "最初からやり直す" }).click();
  await visitor.getByText("画像はまだありません。").waitFor();
  await visitor.getByRole("button", { name: "画像を追加" }).click();
  await visitor.getByText("現在 50 枚").waitFor();
  await shot(visitor, "step1-ja");
  await onlyJapanese(visitor);
  await visitor.getByRole("button", { name: "次へ" }).click();
  await visitor.getByText("良品 0 枚").waitFor();
  await shot(visitor, "step2-ja");
  await onlyJapanese(visitor);
  await visitor.getByRole("button", { name: "次へ" }).click();
  await visitor.getByLabel("検査する物").fill("布");
  await visitor.keyboard.press("Enter");
  await visitor.getByLabel("起こりうる不良").fill("キ");
  await visitor.getByRole("list", { name: "候補" }).waitFor();
  await visitor.getByLabel("起こりうる不良").fill("キズ、汚れ");
  await visitor.keyboard.press("Enter");
  await visitor.getByRole("cell", { name: "汚れ", exact: true }).waitFor();
  await shot(visitor, "step3-ja");
  await visitor.getByRole("button", { name: "次へ" }).click();
  await looked(visitor, "もう一度見る");
  await shot(visitor, "step4-ja");
  await visitor.getByRole("button", { name: "次へ" }).click();
  await visitor.getByText("良品の画像がないため", { exact: false }).waitFor();
  await shot(visitor, "step5-ja");
  await onlyJapanese(visitor);
  await visitor.getByRole("button", { name: "保存して使う" }).click();
  await visitor.getByText("バージョン2で判定します", { exact: false }).waitFor();
  await visitor.getByRole("link", { name: "設定履歴" }).click();
  await visitor
    .getByRole("row", { name: /バージョン2/ })
    .getByText("使用中")
    .waitFor();
  await shot(visitor, "settings-ja");
  await context.close();
});

test("with nothing at all the wizard ends in the bundle's own threshold, by the keyboard alone", { skip }, async () => {
  const context = await signedIn("en-US");
  const visitor = await context.newPage();
  watch(visitor);
  await visitor.goto(`${url}/#setup`);
  visitor.on("dialog", (dialog) => void dialog.accept());
  await visitor.getByRole("button", { name: "Start over" }).press("Enter");
  await visitor.getByText("No picture yet.").waitFor();
  for (const title of ["Which parts are good?", "What is it, and", "What does the inspector see?", "From which score on"]) {
    await visitor.getByRole("button", { name: "Next" }).press("Enter");
    await until(`the title ${title} to hold the focus`, () =>
      visitor.evaluate<boolean>(`document.activeElement.textContent.startsWith(${JSON.stringify(title)})`),
    );
  }
  await visitor.getByText("With no pictures this is the threshold that decides now.").waitFor();
  await visitor.getByRole("button", { name: "Save and use" }).press("Enter");
  await visitor.getByText("Version 3 decides from now on.").waitFor();
  await context.close();
});

test("every field and button has a name, and texts stand out from their ground", { skip }, async () => {
  await page.goto(`${url}/#setup`);
  await page.getByRole("heading", { name: "Where do the pictures come from?" }).waitFor();
  for (const scheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const step of ["Pictures", "Good parts", "Words", "Look", "Threshold"]) {
      await page.getByRole("button", { name: new RegExp(`\\d ${step}`) }).click();
      await page.getByText("Loading…").waitFor({ state: "detached" });
      assert.deepEqual(await page.evaluate(UNNAMED), [], `${step}, unnamed`);
      assert.deepEqual(await page.evaluate(FAINT), [], `${step}, ${scheme}, too faint`);
    }
  }
});

test("nothing on a tablet is wider than its screen", { skip }, async () => {
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 768, height: 1024 });
  for (const view of ["live", "setup", "settings"]) {
    await page.goto(`${url}/#${view}`);
    await until("the width", async () => (await page.evaluate("document.documentElement.scrollWidth")) === 768);
  }
  await page.goto(`${url}/#setup`);
  await shot(page, "tablet");
});

test("the page ran without an error and without anything its content policy forbids", { skip }, () => {
  assert.deepEqual(faults, []);
});

/** Buttons, links and fields that a screen reader would have no word for. */
const UNNAMED = `[...document.querySelectorAll("button, a, input")].filter((node) => {
  const name = node.getAttribute("aria-label") || node.textContent.trim() || [...(node.labels ?? [])].map((label) => label.textContent.trim()).join("");
  return name === "";
}).map((node) => node.outerHTML.slice(0, 120))`;

/** Texts whose contrast is below 4.5 (WCAG 2.2, 1.4.3); disabled buttons need none. */
const FAINT = `(() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const groundOf = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim() !== ""))
    .filter((node) => !node.closest(":disabled, figure, svg, option") && node.offsetParent !== null)
    .map((node) => {
      const [a, b] = [light(parse(getComputedStyle(node).color)), light(groundOf(node))].sort((x, y) => y - x);
      return { text: node.textContent.trim().slice(0, 40), contrast: (a + 0.05) / (b + 0.05) };
    })
    .filter(({ contrast }) => contrast < 4.5);
})()`;

async function signedIn(locale: string): Promise<BrowserContext> {
  const context = await browser.newContext({ locale, viewport: { width: 1280, height: 900 } });
  const first = await context.newPage();
  const { stdout } = await runCli(["page-link", "--config", site.configFile, "--json"]);
  await first.goto((JSON.parse(stdout) as { url: string }).url);
  await first.close();
  return context;
}

async function open(locale: string, address: string): Promise<Page> {
  const context = await browser.newContext({ locale, viewport: { width: 1280, height: 900 } });
  const fresh = await context.newPage();
  watch(fresh);
  await fresh.goto(address);
  return fresh;
}

function watch(fresh: Page): void {
  fresh.setDefaultTimeout(60_000);
  fresh.on("pageerror", (error) => faults.push(error.message));
  fresh.on("console", (message) => {
    if (/Content Security Policy|Refused/.test(message.text())) faults.push(message.text());
  });
}

/** Lets the camera deliver frames, and waits for their verdicts. */
async function play(kind: "good" | "local", count: number, from = 0): Promise<void> {
  const want = site.inbox.verdicts.length + count;
  for (const { bytes } of (await textile(kind, from + count)).slice(from)) {
    await site.place("line", `frame-${String(++placed).padStart(4, "0")}.jpg`, bytes);
  }
  await until("the verdicts", () => site.inbox.verdicts.length >= want);
}

async function addBad(visitor: Page): Promise<void> {
  await visitor.getByRole("button", { name: /1 Pictures/ }).click();
  await visitor.getByLabel("Choose pictures…").setInputFiles((await textile("local", 6)).map(({ file }) => file));
  await visitor.getByText("19 pictures so far").waitFor();
  await visitor.getByRole("button", { name: /3 Words/ }).click();
  await visitor.locator(".chips", { hasText: "キズ" }).waitFor();
}

/** Until every picture has its map and nothing is under way. */
async function looked(visitor: Page, again = "Look again"): Promise<void> {
  await until(
    "the look",
    async () =>
      (await visitor.locator(".progress").count()) === 0 &&
      (await visitor.getByRole("button", { name: again }).count()) === 0 &&
      (await visitor.locator(".look-columns .heat").count()) > 1,
    120_000,
  );
}

/** Whatever a person reads is in Japanese; names of things are not. */
async function onlyJapanese(visitor: Page): Promise<void> {
  const text = ((await visitor.locator("main").textContent()) ?? "").replaceAll(/textile(_\d+\.jpg)?|\/[\w/.-]+|line|operator/g, "");
  assert.doesNotMatch(text, /[A-Za-z]{4,}/, "an English word was left over");
}

async function shot(visitor: Page, name: string): Promise<void> {
  if (!SHOTS) return;
  await mkdir(SHOTS, { recursive: true });
  await visitor.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}
