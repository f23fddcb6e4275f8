/** The page "Live" in a real browser, fed by a real hub: what an operator sees and does, in both languages. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { agentTopics, type Drift, type Sample, type Verdict } from "@kenpin/schema";
import { type Browser, chromium, type Page } from "playwright-core";
import {
  type HubProcess,
  makePicture,
  makeSample,
  makeVerdict,
  putBlob,
  type Site,
  type SpeakingAgent,
  speakAs,
  startSite,
  until,
} from "../support/hub.ts";

const CHROMIUM = "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : "chromium is not installed (Debian: apt install chromium)";
const TOPICS = agentTopics("demo", "edge-1");

let site: Site;
let agent: SpeakingAgent;
let browser: Browser;
let page: Page;
const faults: string[] = [];
let seq = 0;

before(async () => {
  if (skip) return;
  // The page under test is the one in this tree, not the one that was built last.
  execFileSync(process.execPath, ["--conditions=kenpin-source", resolve(import.meta.dirname, "../../cloud-trainer/web/build.ts")]);
  site = await startSite();
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  page = await signIn("en-US");
});
after(async () => {
  if (skip) return;
  await browser.close();
  await agent?.close();
  await site.stop();
});

test("a page that nobody signed in to asks for a token, and the token opens it", { skip }, async () => {
  const context = await browser.newContext({ locale: "ja-JP" });
  const visitor = await context.newPage();
  await visitor.goto(site.hub.url);
  await visitor.waitForURL("**/login");
  await visitor.getByText("サインイン").first().waitFor();
  await visitor.getByLabel("トークン").fill("wrong");
  await visitor.getByRole("button").click();
  await visitor.getByRole("alert").waitFor();
  await visitor.getByLabel("トークン").fill(site.hub.token);
  await visitor.getByRole("button").click();
  await visitor.getByText("最初の判定を待っています…").waitFor();
  await context.close();
});

test("an empty hub says what it waits for", { skip }, async () => {
  await page.getByText("Waiting for the first verdict…").waitFor();
  await page.getByText("No agent is enrolled yet").waitFor();
  await page.getByText("No training has run yet").waitFor();
});

test("an agent shows up with its state, bundle, references and backlog", { skip }, async () => {
  agent = await speakAs(site, "edge-1");
  const at = new Date().toISOString();
  const status = { schemaVersion: 1, state: "online", bootId: agent.bootId, version: "0.1.0", at, backlog: 7 };
  const reported = {
    schemaVersion: 1,
    state: "running",
    digest: "ab12cd34".repeat(8),
    settings: "b".repeat(64),
    release: 4,
    references: 20,
    at,
  };
  await agent.link.publish(TOPICS.status, status, { retain: true });
  await agent.link.publish(TOPICS.bundleReported, reported, { retain: true });
  const row = page.locator(".agent");
  await row.getByText("references 20").waitFor();
  for (const text of ["demo/edge-1", "online", "ab12cd34", "release 4", "waiting to send 7"]) {
    assert.ok((await row.textContent())?.includes(text), text);
  }
});

test("a camera that drifts is said beside its agent, with the figure that moved most, until it is steady again", { skip }, async () => {
  await agent.link.publish(TOPICS.drift("line"), drift("drifting"), { retain: true });
  const tag = page.locator(".agent .tag", { hasText: "drifts: line" });
  await tag.waitFor();
  assert.equal(await tag.textContent(), "drifts: line: brightness 120.00 → 108.00");
  await agent.link.publish(TOPICS.drift("another"), drift("drifting"), { retain: true }); // speaks of a camera that is not its topic's
  await agent.link.publish(TOPICS.drift("line"), drift("steady"), { retain: true });
  await tag.waitFor({ state: "detached" });
  const row = (await site.hub.client.agents()).find((one) => one.agent === "edge-1");
  assert.deepEqual(
    row?.drift.map(({ camera, state }) => [camera, state]),
    [["line", "steady"]],
  );
});

test("a verdict without a picture appears by itself and says that the picture stayed on the device", { skip }, async () => {
  await say({ outcome: "fail", score: 0.83, camera: "audit" });
  const view = page.getByRole("region", { name: "Current part" });
  await view.getByText("The picture stayed on the device").waitFor();
  await view.locator(".outcome", { hasText: "Fail" }).waitFor();
  await view.getByRole("img", { name: "Score 0.830, threshold 0.500", exact: false }).waitFor();
  assert.equal(await figure("Fail"), "1");
});

test("a sent picture is shown large with its heat map, which can be dimmed and hidden", { skip }, async () => {
  await sayWithPicture({ outcome: "pass", score: 0.2 }, 40);
  const view = page.getByRole("region", { name: "Current part" });
  const picture = view.getByRole("img", { name: "The inspected part" });
  await picture.waitFor();
  await until("the picture to be drawn", () =>
    picture.evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth > 0),
  );
  const map = view.getByRole("img", { name: "Where the part looks unusual" });
  await map.waitFor();
  await view.getByLabel("Opacity").fill("0.3");
  assert.equal(await map.evaluate((image) => (image as unknown as { style: { opacity: string } }).style.opacity), "0.3");
  await view.getByLabel("Heat map").uncheck();
  assert.equal(await map.count(), 0);
  await view.getByLabel("Heat map").check();
});

test("the keys label the part that is shown, and the arrows move to another one", { skip }, async () => {
  const { sample } = await sayWithPicture({ outcome: "unknown", reason: "undecided-band", score: 0.48 }, 60);
  await page.getByText("between the thresholds").waitFor();
  await until("two to label", async () => (await figure("Waiting for a label")) === "2");
  await page.keyboard.press("b");
  await page.locator(".tile .badge", { hasText: "Bad" }).waitFor();
  const row = (await site.hub.client.samples()).find((one) => one.sample.id === sample.id);
  assert.deepEqual(row?.label, { sample: sample.frame.sha256, label: "bad", by: "operator" });
  assert.equal(await page.getByRole("button", { name: "B Bad" }).getAttribute("aria-pressed"), "true");
  await page.keyboard.press("ArrowRight");
  await page.getByRole("button", { name: "Back to the newest" }).waitFor();
  await page.keyboard.press("g");
  await page.locator(".tile .badge", { hasText: "Good" }).waitFor();
  assert.equal((await site.hub.client.samples()).filter(({ label }) => label?.label === "good").length, 1);
  await page.keyboard.press("Escape");
  await until("none to label", async () => (await figure("Waiting for a label")) === "0");
});

test("the page says so when labels come from a data set's ground truth", { skip }, async () => {
  assert.equal(await page.locator(".notice").count(), 0);
  const { sample } = await sayWithPicture({}, 80);
  await site.hub.client.label([{ sample: sample.frame.sha256, label: "good", by: "ground-truth" }]);
  await page.getByText("1 labels come from the data set's ground truth", { exact: false }).waitFor();
});

test("in Japanese everything is said in Japanese, and the choice is remembered", { skip }, async () => {
  await page.getByRole("button", { name: "日本語" }).click();
  await page.getByRole("heading", { name: "最近の判定" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "最近の判定" }).waitFor();
  assert.equal(await page.locator("html").getAttribute("lang"), "ja");
  const text = ((await page.locator("main").textContent()) ?? "").replaceAll(/edge-1|line|audit|ground-truth|aaaaaaaa/g, "");
  assert.doesNotMatch(text, /[A-Za-z]{4,}/, "an English word was left over");
  await page.getByRole("button", { name: "English" }).click();
  await page.getByRole("heading", { name: "Recent verdicts" }).waitFor();
});

test("a viewer may look but not label", { skip }, async () => {
  const viewer = await signIn("en-US", "viewer");
  await viewer.getByText("Your role may look but not label.").waitFor();
  assert.equal(await viewer.getByRole("button", { name: "G Good" }).isDisabled(), true);
  await viewer.context().close();
});

test("when the hub goes away the page says so, and comes back by itself with what it missed", { skip }, async () => {
  const before = Number(await figure("Verdicts"));
  const restarted = site.restartHub("SIGKILL");
  await page.getByText("The hub does not answer").waitFor();
  await restarted;
  const verdict = makeVerdict({ bootId: agent.bootId, seq: ++seq });
  await until("the acknowledgement", async () => {
    await agent.link.publish(TOPICS.verdict("line"), verdict); // as an outbox does, until the hub listens again
    return agent.acked() === seq;
  });
  await until("the missed verdict", async () => Number(await figure("Verdicts")) === before + 1);
  assert.equal(await page.getByText("The hub does not answer").count(), 0);
});

test("nothing on a tablet is wider than its screen", { skip }, async () => {
  await page.setViewportSize({ width: 820, height: 1180 });
  const wide = await page.evaluate("document.documentElement.scrollWidth");
  assert.equal(wide, 820);
});

test("the page ran without an error and without anything its content policy forbids", { skip }, () => {
  assert.deepEqual(faults, []);
});

async function signIn(locale: string, role: "admin" | "viewer" = "admin"): Promise<Page> {
  const hub: HubProcess = site.hub;
  const context = await browser.newContext({ locale, viewport: { width: 1280, height: 860 } });
  const fresh = await context.newPage();
  fresh.setDefaultTimeout(60_000);
  fresh.on("pageerror", (error) => faults.push(error.message));
  fresh.on("console", (message) => {
    if (/Content Security Policy|Refused/.test(message.text())) faults.push(message.text());
  });
  await fresh.goto(hub.url + (await hub.client.loginLink({ role })).path);
  return fresh;
}

async function figure(name: string): Promise<string> {
  const cell = page.locator(".figures > div", { has: page.locator("dt", { hasText: new RegExp(`^${name}$`) }) });
  return (
    (await cell.locator("dd").evaluate((node) => (node as unknown as { firstChild: { textContent: string } }).firstChild.textContent)) ?? ""
  );
}

function drift(state: Drift["state"]): Drift {
  const at = new Date().toISOString();
  const quantiles = (p50: number) => ({ p05: p50 - 3, p50, p95: p50 + 3 });
  return {
    schemaVersion: 1,
    site: "demo",
    line: "line-1",
    agent: "edge-1",
    camera: "line",
    bootId: agent.bootId,
    at,
    state,
    since: at,
    referenceAt: at,
    frames: { reference: 200, window: 50 },
    test: { mmd2: 0.4, p: 0.00001, alpha: 0.00008, shiftAlarmRate: 0.05 },
    figures: [{ name: "brightness", stability: 6, reference: quantiles(120), window: quantiles(108) }],
    bundle: "a".repeat(64),
    settings: "b".repeat(64),
  };
}

async function say(part: Partial<Verdict>): Promise<Verdict> {
  const verdict = makeVerdict({ bootId: agent.bootId, seq: ++seq, ...part });
  await agent.link.publish(TOPICS.verdict(verdict.camera), verdict);
  return verdict;
}

async function sayWithPicture(part: Partial<Verdict>, shade: number): Promise<{ verdict: Verdict; sample: Sample }> {
  const [picture, map] = [await makePicture(shade), await makePicture(shade + 1)];
  const verdict = await say({ ...part, frame: { sha256: picture.sha256, width: 64, height: 48 } });
  const sample = makeSample(verdict, ++seq, picture.ref, map.ref);
  await agent.link.publish(TOPICS.sample(verdict.camera), sample);
  for (const { sha256, bytes } of [picture, map]) assert.equal((await putBlob(site.hub, agent.token, sha256, bytes)).status, 201);
  await until("the sample", async () => (await site.hub.client.samples()).some((row) => row.sample.id === sample.id && row.stored));
  return { verdict, sample };
}
