/** `kenpin words` and `kenpin stage --sheet` as somebody runs them: what words become, what is warned of, what is refused. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { embedPartSheet } from "@kenpin/clip";
import { embedTexts } from "@kenpin/inspector";
import { PartSheet, PromptSet, TextTower } from "@kenpin/schema";
import { parse } from "yaml";
import { goldenPictures } from "../../../cloud-trainer/src/samples/pictures.ts";

const CLI = resolve(import.meta.dirname, "../../../cloud-trainer/src/cli.ts");
const BASE = resolve(import.meta.dirname, "../../../cloud-trainer/base");
const SHEET = `part: BRKT-2041
object: ブラケット
good: [キズなし]
bad: [{say: ｷｽﾞ, weight: 2}, 打痕, {sentence: a photo of a bracket that is missing its screw}]
`;

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kenpin-words-test-"));
});
after(() => rm(dir, { recursive: true, force: true }));

async function sheetFile(text: string): Promise<string> {
  const file = join(dir, "sheet.yaml");
  await writeFile(file, text);
  return file;
}

function kenpin(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(
      process.execPath,
      [...process.execArgv.filter((flag) => !flag.startsWith("--test")), CLI, ...args],
      (error, stdout, stderr) => {
        done({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
      },
    );
  });
}

test("with a picture, WinCLIP's windows look at it by these words, and say what that costs beside one pass", async () => {
  const picture = join(dir, "bad.png");
  const { png } = (await goldenPictures(3)).find(({ file }) => file.includes("bad")) as { png: Uint8Array };
  await writeFile(picture, png);
  const { stdout, stderr, code } = await kenpin("words", await sheetFile(SHEET), "--picture", picture, "--json");
  assert.equal(code, 0, stderr);
  const { file, score, classScore, hottest, tiles, windows, ms } = JSON.parse(stdout).picture;
  assert.deepEqual([file, tiles, windows], [picture, 9, 81 + 64]);
  assert.ok(classScore > 0 && classScore < 1);
  assert.ok(Math.abs(score - (classScore + hottest.value) / 2) < 1e-6);
  assert.ok(hottest.x >= 0 && hottest.x < 160 && hottest.y < 160 && hottest.side === 8);
  assert.ok(ms.windows > 0 && ms.onePass > 0);
  await writeFile(picture, "no picture");
  assert.match((await kenpin("words", join(dir, "sheet.yaml"), "--picture", picture)).stderr, /^kenpin: .*\[image-unreadable\]$/m);
});

test("a part sheet's words are shown with what each became, how much it weighs, and how far good and bad lie apart", async () => {
  const { code, stdout } = await kenpin("words", await sheetFile(SHEET), "--json");
  assert.equal(code, 0);
  const { part, object, rows, separation, warnings } = JSON.parse(stdout);
  assert.deepEqual([part, object, warnings], ["BRKT-2041", "a bracket", []]);
  const scratch = rows.find(({ word }: { word: string }) => word === "ｷｽﾞ");
  assert.deepEqual([scratch.side, scratch.text, scratch.weight, scratch.from], ["bad", "a bracket with a scratch", 2, "glossary"]);
  assert.ok(scratch.texts.includes("a photo of a surface with a scratch"));
  assert.ok(separation < 0.9, `${separation}`);
  const table = await kenpin("words", join(dir, "sheet.yaml"));
  assert.match(table.stdout, /^BRKT-2041: a bracket; cosine of good and bad 0\.\d{3}\n/);
  assert.match(table.stdout, /^ {2}bad +2\.00 {2}ｷｽﾞ +a bracket with a scratch {2}\(glossary, sentences: \d+\)$/m);
});

test("words that mean the same on both sides are warned of", async () => {
  const { stdout } = await kenpin("words", await sheetFile("part: A\nobject: cloth\ngood: [even, defect]\nbad: [defective]\n"));
  assert.match(stdout, /^warning: "defect" stands under good, but the glossary knows it as bad$/m);
  assert.match(stdout, /^warning: "defect" \(good\) and "defective" \(bad\) mean nearly the same to this model \(cosine 1\.000\)$/m);
});

test("a sheet with a misspelt key, an unknown word, broken YAML or no file is refused in one line", async () => {
  const cases: [text: string, message: RegExp][] = [
    ["part: A\nobject: cloth\nbda: [x]\n", /unknown key "bda", did you mean "bad"\? \[invalid-input\]$/],
    ["part: A\nobject: cloth\nbad: [テカリ]\n", /the glossary does not know "テカリ"; .* words: \{テカリ: glare\} \[word-unknown\]$/],
    ["part: [A\n", /is no YAML: .* \[part-sheet-unreadable\]$/],
    [`# ${"x".repeat(300_000)}\n`, /at most 262144 are read \[part-sheet-too-large\]$/],
  ];
  for (const [text, message] of cases) {
    const { code, stderr } = await kenpin("words", await sheetFile(text));
    assert.equal(code, 1);
    assert.match(stderr.trimEnd(), message);
    assert.equal(stderr.trimEnd().split("\n").length, 1);
  }
  assert.match((await kenpin("words", join(dir, "none.yaml"))).stderr, /\[part-sheet-missing\]/);
});

test("a bundle staged from a part sheet holds weighted rows and what was written; with its text tower a device makes the same", async () => {
  const out = join(dir, "staged");
  const { code, stderr } = await kenpin("stage", "--model", BASE, "--sheet", await sheetFile(SHEET), "--with-text", "--out", out);
  assert.equal(code, 0, stderr);
  const read = async (name: string) => JSON.parse(await readFile(join(out, name), "utf8"));
  const prompts = PromptSet.parse(await read("prompts.json"));
  assert.equal(prompts.words?.[prompts.good.length], "ｷｽﾞ");
  assert.equal(prompts.weights?.[prompts.good.length], 2);
  assert.equal(prompts.bad[0], "a bracket with a scratch");
  const tower = TextTower.parse(await read("text.json"));
  const again = await embedPartSheet(PartSheet.parse(parse(SHEET)), {
    text: tower,
    logitScale: tower.logitScale,
    embed: (inputIds) => embedTexts({ textModel: join(out, "text.onnx"), inputIds }),
  });
  assert.deepEqual(again.prompts, prompts);
});

test("a bundle is staged from sentences or from a sheet, not from both or neither", async () => {
  const { code, stderr } = await kenpin("stage", "--model", BASE, "--out", join(dir, "nothing"));
  assert.equal(code, 1);
  assert.match(stderr, /expected either --words or --sheet \[invalid-input\]/);
});
