/**
 * The nodes in Node-RED's own editor, in a real browser: each is dragged in from the palette, opened, filled in and deployed; labels, hints
 * and help are in the browser's language; what cannot be is marked before it is deployed.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Browser, chromium, type Page } from "playwright-core";
import { startBroker } from "../edge-agent/edge-site.ts";
import { until } from "../support/hub.ts";
import { type FlowNode, type NodeRed, startNodeRed } from "./node-red.ts";

const CHROMIUM = "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : "chromium is not installed (Debian: apt install chromium)";
/** Pictures for whoever wants to look: KENPIN_SCREENSHOTS=folder. */
const SHOTS = process.env["KENPIN_SCREENSHOTS"];
const PALETTE = {
  "en-US": ["agent", "drift", "inspect", "label", "rollout", "sample", "verdict"],
  ja: ["エージェント", "サンプル", "ドリフト", "ラベル", "判定", "検査", "配布"],
};
const TYPES = ["inspect", "verdict", "label", "agent", "rollout", "drift", "sample"].map((name) => `kenpin-${name}`);

let red: NodeRed;
let browser: Browser;
let broker: Awaited<ReturnType<typeof startBroker>>;
const faults: string[] = [];

before(async () => {
  if (skip) return;
  broker = await startBroker();
  red = await startNodeRed();
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
});
after(async () => {
  await browser?.close();
  await red?.stop();
  await broker?.stop();
});

for (const language of ["en-US", "ja"] as const) {
  test(`${language}: every node is in the palette under its own name, with an icon, and its help has inputs, outputs and details`, {
    skip,
  }, async () => {
    const page = await open(language);
    const shown = await page.locator("#red-ui-palette-kenpin .red-ui-palette-label").allTextContents();
    assert.deepEqual(shown.map((label) => label.trim()).sort(), PALETTE[language]);
    await until("the icons", async () => (await page.evaluate<number>(ICONS)) === TYPES.length);
    await page.locator("#red-ui-palette-kenpin").scrollIntoViewIfNeeded();
    await shot(page, `palette-${language}`);
    for (const type of [...TYPES, "kenpin-link"]) {
      const help = await page.evaluate<string>(`RED.nodes.getNodeHelp(${JSON.stringify(type)})`);
      assert.match(help, language === "ja" ? /<h3>詳細<\/h3>/ : /<h3>Details<\/h3>/, type);
      if (type !== "kenpin-link") assert.match(help, language === "ja" ? /<h3>出力<\/h3>/ : /<h3>Outputs<\/h3>/, type);
      if (language === "ja") assert.match(help, /[ぁ-ん]{3}/, type);
    }
    await page.context().close();
  });

  test(`${language}: each node is dragged in, opened and closed, and no field is without its text`, { skip }, async () => {
    const page = await open(language);
    for (const [i, type] of TYPES.entries()) {
      await drag(page, type, 340 + (i % 3) * 190, 130 + Math.floor(i / 3) * 90);
      await openDialog(page, type);
      const texts = (await page.locator("#dialog-form").textContent()) ?? "";
      assert.doesNotMatch(texts, /kenpin[-.\w]*\.[a-z]/, `${type} shows the name of a text in its place`);
      if (language === "ja")
        assert.doesNotMatch(texts.replaceAll(/msg\.\w+|kenpin-\w+|PNG/g, ""), /\b[A-Za-z]{5,}/, `${type} has an English word left over`);
      await shot(page, `${type}-${language}`);
      await page.locator("#node-dialog-cancel").click();
      await page.locator("#dialog-form").waitFor({ state: "detached" });
    }
    await shot(page, `workspace-${language}`);
    await page.context().close();
  });
}

test("a link is made in the dialog, nodes that lack one are marked, and what is deployed runs", { skip }, async () => {
  const page = await open("en-US");
  await drag(page, "kenpin-verdict", 400, 150);
  assert.equal(await page.evaluate<boolean>(VALID), false, "without a link it is not complete");
  await openDialog(page, "kenpin-verdict");
  await type(page, "#node-input-scoreFrom", "seven");
  assert.equal(await page.locator("#node-input-scoreFrom.input-error").count(), 1);
  await type(page, "#node-input-scoreFrom", "0.5");
  assert.equal(await page.locator("#node-input-scoreFrom.input-error").count(), 0);
  await page.locator("#node-input-btn-link-add, #node-input-lookup-link").first().click();
  await type(page, "#node-config-input-broker", "not an address");
  assert.equal(await page.locator("#node-config-input-broker.input-error").count(), 1);
  await type(page, "#node-config-input-broker", broker.url);
  await type(page, "#node-config-input-brokerUser", "node-red");
  await type(page, "#node-config-input-brokerPassword", "a secret");
  await shot(page, "link-en-US");
  await page.locator("#node-config-dialog-ok").click();
  await page.locator("#node-config-input-broker").waitFor({ state: "detached" });
  await page.locator("#node-dialog-ok").click();
  await page.locator("#dialog-form").waitFor({ state: "detached" });
  assert.equal(await page.evaluate<boolean>(VALID), true);
  await page.locator("#red-ui-header-button-deploy").click();
  await until("the flow to be deployed", async () => (await deployed()).some(({ type }) => type === "kenpin-verdict"));
  const flow = await deployed();
  const link = flow.find(({ type }) => type === "kenpin-link") as FlowNode;
  assert.equal(flow.find(({ type }) => type === "kenpin-verdict")?.["link"], link.id);
  assert.doesNotMatch(JSON.stringify(flow), /a secret/);
  await until("the status", async () => (await page.locator(".red-ui-flow-node-status-group").textContent())?.trim() === "connected");
  await shot(page, "deployed-en-US");
  await page.context().close();
});

test("the examples are in the import dialog, and one is imported whole", { skip }, async () => {
  const page = await open("ja");
  await page.evaluate("RED.actions.invoke('core:show-examples-import-dialog')");
  await page.locator("#red-ui-clipboard-dialog").getByText("@kenpin/node-red-nodes").click();
  await page.getByText("reject gate with a PLC over Modbus").waitFor();
  await shot(page, "examples-ja");
  await page.getByText("reject gate with a PLC over Modbus").click();
  await page.locator("#red-ui-clipboard-dialog-ok").click();
  await until("the story", () => page.evaluate<boolean>("RED.nodes.filterNodes({type: 'tcp request'}).length === 1"));
  await shot(page, "story-ja");
  await page.context().close();
});

test("the editor ran without an error of ours", { skip }, () => {
  assert.deepEqual(faults, []);
});

const ICONS = `[...document.querySelectorAll("#red-ui-palette-kenpin .red-ui-palette-icon")].filter((icon) => /kenpin-\\w+\\.svg/.test(icon.style.backgroundImage)).length`;
/** Whether the newest node of the workspace is complete. */
const VALID = "RED.nodes.filterNodes({type: 'kenpin-verdict'}).at(-1).valid";

async function open(locale: string): Promise<Page> {
  const context = await browser.newContext({ locale, viewport: { width: 1400, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => faults.push(error.message));
  await page.goto(red.url);
  await page.locator("#red-ui-palette-kenpin .red-ui-palette-node").first().waitFor();
  await page.evaluate(
    "document.querySelectorAll('#red-ui-palette-container .red-ui-palette-category').forEach((node) => node.id === 'red-ui-palette-container-kenpin' || node.remove())",
  );
  return page;
}

/** As a hand would: onto the workspace, whose own place is left out. */
async function drag(page: Page, type: string, x: number, y: number): Promise<void> {
  const node = page.locator(`.red-ui-palette-node[data-palette-type="${type}"]`);
  await node.scrollIntoViewIfNeeded();
  const from = await node.boundingBox();
  assert.ok(from);
  const known = await page.evaluate<number>(`RED.nodes.filterNodes({type: ${JSON.stringify(type)}}).length`);
  await page.mouse.move(from.x + from.width / 2, from.y + from.height / 2);
  await page.mouse.down();
  await page.mouse.move(x - 40, y - 20, { steps: 6 });
  await page.mouse.move(x, y, { steps: 4 });
  await page.mouse.up();
  await until(
    `${type} on the workspace`,
    async () => (await page.evaluate<number>(`RED.nodes.filterNodes({type: ${JSON.stringify(type)}}).length`)) > known,
  );
}

async function openDialog(page: Page, type: string): Promise<void> {
  await page.evaluate(`RED.editor.edit(RED.nodes.filterNodes({type: ${JSON.stringify(type)}}).at(-1))`);
  await page.locator("#dialog-form").waitFor();
  await page.locator("#node-input-name").waitFor();
}

/** A field is looked at when it is left. */
async function type(page: Page, field: string, text: string): Promise<void> {
  await page.locator(field).fill(text);
  await page.locator(field).press("Tab");
}

async function deployed(): Promise<FlowNode[]> {
  return (await (await fetch(`${red.url}/flows`)).json()) as FlowNode[];
}

async function shot(page: Page, name: string): Promise<void> {
  if (!SHOTS) return;
  await mkdir(SHOTS, { recursive: true });
  await page.waitForTimeout(400); // trays slide in
  await page.screenshot({ path: join(SHOTS, `nodered-${name}.png`) });
}
