/** `kenpin report` from end to end: real evaluations, a page in a real browser in both languages, and what is refused. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { inFolder, runKenpin } from "../import/seeded-checkpoint.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const BASE = join(ROOT, "cloud-trainer/base");
const CHROMIUM = "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : "chromium is not installed";
const SHEET = `title: Line <3> & more
currency: JPY
targets: { escapeRate: 0.5, overkillRate: 0.001, accuracy: 0.999, latencyMs: 0.001 }
costs: { partsPerYear: 1000, escapeCost: 8000 }
variants:
  - { name: words, evaluation: words.json, devicePrice: 90000 }
  - { name: few labels, evaluation: few.json, labels: 16 }
learning: [words.json, few.json]
`;

test("a page for the decision opens in both languages without a fault or a request, and counts the reader's own prices", {
  skip,
}, async () => {
  await inFolder(async (dir) => {
    const set = await smallSet(dir);
    await evaluated(dir, "words.json", ["--data", set]);
    await evaluated(dir, "few.json", ["--data", set, "--exemplars", "16", "--calibration", "0"]);
    await writeFile(join(dir, "report.yaml"), SHEET);
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    try {
      for (const language of ["en", "ja"]) {
        const out = join(dir, `${language}.html`);
        const sources = ["--bundle", BASE, "--data", set, "--pictures", "4"];
        const { code, stderr } = await runKenpin(["report", "--sheet", join(dir, "report.yaml"), "--out", out, "--language", language, ...sources]); // biome-ignore format: one line
        assert.equal(code, 0, stderr);
        const page = await browser.newPage();
        const complaints: string[] = [];
        page.on("console", (message) => complaints.push(message.text()));
        page.on("pageerror", (error) => complaints.push(error.message));
        page.on("request", (request) => request.url().startsWith("http") && complaints.push(request.url()));
        await page.goto(pathToFileURL(out).href);
        assert.equal(await page.textContent("h1"), "Line <3> & more");
        assert.equal(await page.getAttribute("html", "lang"), language);
        assert.equal(await page.locator("figure").count(), 4);
        assert.match((await page.textContent("main")) ?? "", language === "en" ? /What was not measured/ : /測定していないこと/);
        assert.match((await page.textContent("main")) ?? "", /kenpin-s-8 base/, "whose weights they are");
        await page.fill("#v0-escapeRate", "0.5");
        const escapes = Number((await page.textContent("#t0-escapes"))?.replaceAll(",", ""));
        assert.equal(escapes, Math.round(1000 * 3 * 0.01 * 0.5 * 8000));
        assert.deepEqual(complaints, []);
        await page.close();
      }
    } finally {
      await browser.close();
    }
  });
});

test("a target that few pictures cannot show is called that, and pictures stay out unless they are asked for", async () => {
  await inFolder(async (dir) => {
    const set = await smallSet(dir);
    await evaluated(dir, "words.json", ["--data", set]);
    const sheet = "targets: { escapeRate: 0.001, latencyMs: 100000 }\nvariants: [{ name: words, evaluation: words.json }]\n";
    await writeFile(join(dir, "report.yaml"), sheet);
    const { code, stdout } = await runKenpin(["report", "--sheet", join(dir, "report.yaml"), "--out", join(dir, "r.html"), "--json"]);
    assert.equal(code, 0);
    assert.ok(JSON.parse(stdout).bytes > 5000);
    const page = await readFile(join(dir, "r.html"), "utf8");
    assert.doesNotMatch(page, /data:image\/jpeg/);
    assert.match(page, /No picture is shown/);
    assert.match(page, /too few pictures|missed/);
    assert.match(page, /✓ met/);
  });
});

test("a missing sheet, a misspelt key, an evaluation that is none, and pictures without a bundle are refused in one line", async () => {
  await inFolder(async (dir) => {
    const sheet = join(dir, "report.yaml");
    const refused = async (message: RegExp, ...args: string[]) => {
      const { code, stderr } = await runKenpin(["report", "--sheet", sheet, "--out", join(dir, "r.html"), ...args]);
      assert.equal(code, 1);
      assert.match(stderr, message);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
    };
    await refused(/report\.yaml cannot be read/);
    await writeFile(sheet, "variant: []\n");
    await refused(/unknown key "variant", did you mean "variants"/);
    await writeFile(sheet, "variants: [{ name: a, evaluation: none.json }]\n");
    await refused(/none\.json is not readable JSON/);
    await writeFile(join(dir, "none.json"), "{}");
    await refused(/none\.json/);
    await refused(/--data needs --bundle/, "--data", dir);
  });
});

/** Twelve good and twelve defective frames of the shipped cloth. */
async function smallSet(dir: string): Promise<string> {
  const set = join(dir, "set");
  for (const [kind, count] of [
    ["good", 12],
    ["local", 6],
    ["global", 6],
  ] as const) {
    // biome-ignore format: a table
    await mkdir(join(set, kind), { recursive: true });
    const from = join(ROOT, "examples/textile", kind);
    for (const name of (await readdir(from)).sort().slice(0, count)) await cp(join(from, name), join(set, kind, name));
  }
  return set;
}

async function evaluated(dir: string, name: string, args: string[]): Promise<void> {
  const { code, stdout, stderr } = await runKenpin(["evaluate", "--bundle", BASE, ...args, "--json"]);
  assert.equal(code, 0, stderr);
  await writeFile(join(dir, name), stdout);
}
