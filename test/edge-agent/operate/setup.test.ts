/**
 * `kenpin-agent setup` on a real agent with the base model and the textile frames: by options alone, at a terminal in Japanese, with
 * every step empty, and what it says where it cannot go on.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import type { SetupResult } from "../../../edge-agent/src/operate/wizard/terminal/setup-run.ts";
import { baseBundle, textile } from "../../support/base-bundle.ts";
import { type EdgeSite, openSite, runCli, until } from "../edge-site.ts";

/** util-linux: gives a command a terminal of its own. */
const SCRIPT = "/usr/bin/script";
const MAIN = resolve(import.meta.dirname, "../../../edge-agent/src/main.ts");
process.env["LC_ALL"] = "C.UTF-8"; // English, whoever runs this
let site: EdgeSite;
let placed = 0;

before(async () => {
  site = await openSite({ bundle: await baseBundle(), cameras: [{ name: "line", part: "textile" }], page: { port: 0 } });
});
after(() => site.close());

test("an agent that does not run is to be started first, in one line", async () => {
  const { code, stderr } = await setup(["--yes"]);
  assert.equal(code, 1);
  assert.match(stderr, /^kenpin-agent: no agent serves its page from .*; start it with kenpin-agent run.*\[page-away\]\n$/);
});

test("good and bad pictures and words become settings that the next verdict names", async () => {
  await site.startAgent();
  const before = await nextVerdict(20);
  const [good, bad, maps] = [await folderOf("good", 12), await folderOf("local", 6), join(site.folder, "maps")];
  const words = ["--object", "fabric", "--defects", "hole, キズ"];
  const { code, stdout, stderr } = await setup(["--good", good, "--bad", bad, ...words, "--cut", "0.6", "--maps", maps, "--by", "Sato"]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /bad: キズ → fabric with a scratch/);
  assert.match(stdout, /good \(12\) {2}.*[▁-█]/);
  assert.match(stdout, /Of 100 good parts about \d+ would be stopped \(12 good pictures\)/);
  assert.match(stdout, /Nothing can be promised about bad parts until 19 more of them/);
  assert.doesNotMatch(stdout, /Promised/);
  assert.match(stdout, /Version 1 \(settings [0-9a-f]{8}\), signed by this device, decides from now on\.\n$/);
  const pngs = await readdir(maps);
  assert.equal(pngs.length, 18);
  assert.ok(pngs.every((name) => /^[01]\.\d{3}-(good|bad)-textile_\d+-[0-9a-f]{8}\.png$/.test(name)));
  assert.equal((await readFile(join(maps, pngs[0] as string))).subarray(1, 4).toString(), "PNG");
  const verdict = await nextVerdict(21);
  assert.notEqual(verdict.settings, before.settings);
  assert.equal(verdict.settings.slice(0, 8), /settings ([0-9a-f]{8})/.exec(stdout)?.[1]);
  assert.equal(verdict.threshold, 0.6);
});

test("without any bad picture, taken as they came, what good parts may expect is promised", async () => {
  const sheet = join(site.folder, "part.yaml");
  await writeFile(sheet, "part: TX-1\nobject: fabric\nbad: [汚れ]\n");
  const good = await folderOf("good", 12);
  const result = await saved(["--good", good, "--sheet", sheet, "--proposed", "--as-they-came"]);
  assert.deepEqual(result.saved.words.includes("汚れ"), true);
  assert.deepEqual([result.saved.good, result.saved.bad], [12, 0]);
  assert.equal(result.promise?.good.kept, true);
  assert.equal(result.promise?.bad.kept, false);
  const verdict = await nextVerdict(22);
  assert.equal(verdict.settings, result.saved.settings);
  assert.equal(verdict.threshold, result.thresholds.cut);
});

test("what a set-up held before is only kept when asked for", async () => {
  const mixed = await folderOf("local", 4);
  const kept = await saved(["--pictures", mixed, "--keep", "--proposed"]);
  assert.deepEqual(kept.pictures.filter(({ label }) => label === "good").length, 12);
  assert.ok(kept.pictures.every(({ score }) => score !== null));
  const afresh = await saved(["--pictures", mixed, "--proposed"]);
  assert.equal(afresh.pictures.length, 4);
  assert.deepEqual([afresh.saved.good, afresh.saved.bad], [0, 0]);
});

test("with neither pictures nor words the threshold in use is saved", async () => {
  const before = await nextVerdict(23);
  const result = await saved(["--yes"]);
  assert.deepEqual(result.pictures, []);
  assert.equal(result.thresholds.cut, before.threshold);
  assert.equal((await nextVerdict(24)).settings, result.saved.settings);
});

test("at a terminal every question comes in the reader's language, and Enter goes on", { skip: noTerminal() }, async () => {
  const good = await folderOf("good", 12);
  const answers: [question: RegExp, answer: string][] = [
    [/1\/5 {2}画像のフォルダ/, "/no/such/folder"],
    [/folder-unreadable.*1\/5 {2}画像のフォルダ/s, good],
    [/2\/5 {2}良品/, "all"],
    [/不良品の画像のフォルダ/, ""],
    [/3\/5 {2}検査する物/, "布"],
    [/起こりうる不良は/, "くさくささ"],
    [/word-unknown.*3\/5 {2}検査する物/s, "布"],
    [/起こりうる不良は.*起こりうる不良は/s, "キズ、汚れ"],
    [/4\/5 {2}ヒートマップ/, ""],
    [/5\/5 {2}ラベルを付けた画像は/, "はい"],
    [/しきい値、0から1/, "1.5"],
    [/しきい値、0から1.*しきい値、0から1/s, "0.7"],
    [/これで判定しますか/, ""],
  ];
  await setup(["--yes"]); // a set-up with no picture in it, so that nobody is asked whether to keep any
  const { code, output } = await atTerminal(answers, "ja_JP.UTF-8");
  assert.equal(code, 0, output);
  assert.match(output, /良品 \(12\)/);
  assert.match(output, /保証（平均）: 良品100個のうち止まるのは10個以下です。/);
  assert.match(output, /これからバージョン\d+（設定 [0-9a-f]{8}、この装置の署名）で判定します。/);
  const verdict = await nextVerdict(25);
  assert.equal(verdict.settings.slice(0, 8), /設定 ([0-9a-f]{8})/.exec(output)?.[1]);
  assert.equal(verdict.threshold, 0.7);
});

test("whoever says no at the end, or leaves, has saved nothing", { skip: noTerminal() }, async () => {
  const { settings } = await nextVerdict(26);
  const enter: [RegExp, string][] = [
    [/holds 12 pictures of a set-up/, "n"],
    [/1\/5/, ""],
    [/2\/5/, ""],
    [/Bad parts/, ""],
    [/3\/5/, ""],
    [/What may be wrong/, ""],
    [/Threshold, from 0 to 1/, ""],
  ];
  const no = await atTerminal([...enter, [/Save, and decide by it/, "n"]], "C.UTF-8");
  assert.equal(no.code, 0, no.output);
  assert.match(no.output, /Nothing was saved\./);
  const left = await atTerminal([[/1\/5/, "\u0004"]], "C.UTF-8");
  assert.equal(left.code, 1);
  assert.match(left.output, /kenpin-agent: the set-up was left before its end; nothing was saved \[setup-left\]/);
  assert.equal((await nextVerdict(27)).settings, settings);
});

test("what cannot be taken is refused in one line that names it", async () => {
  const broken = await folderOf("good", 1);
  await writeFile(join(broken, "broken.jpg"), "no picture");
  const empty = join(site.folder, "empty");
  await mkdir(empty);
  const cases: [args: string[], line: RegExp][] = [
    [[], /there is no terminal to ask on; pass --proposed, --cut <number> or --yes \[nobody-to-ask\]/],
    [["--cut", "1.5"], /cut.*\[invalid-input\]/],
    [["--cut", "0.5", "--proposed"], /pass --cut or --proposed, not both/],
    [["--sheet", "part.yaml", "--object", "fabric"], /a part sheet says all the words/],
    [["--yes", "--good", empty], /empty holds no picture/],
    [["--yes", "--good", broken], /broken\.jpg: .*\[image-unreadable\]/],
    [["--yes", "--defects", "くさくささ"], /くさくささ.*\[word-unknown\]/],
    [["--yes", "--sheet", join(site.folder, "none.yaml")], /none\.yaml cannot be read.*\[sheet-unreadable\]/],
    [["--yes", "--by", ""], /by.*\[invalid-input\]/],
  ];
  for (const [args, line] of cases) {
    const { code, stderr } = await setup(args);
    assert.equal(code, 1, args.join(" "));
    assert.match(stderr, line);
    assert.equal(stderr.trim().split("\n").length, 1, stderr);
  }
});

function setup(args: string[]): ReturnType<typeof runCli> {
  return runCli(["setup", "--config", site.configFile, ...args]);
}

async function saved(args: string[]): Promise<SetupResult> {
  const { code, stdout, stderr } = await setup([...args, "--json"]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as SetupResult;
}

/** Pictures of one kind in a folder of their own. */
async function folderOf(kind: "good" | "local", count: number): Promise<string> {
  const folder = join(site.folder, `pictures-${++placed}`);
  await mkdir(folder);
  for (const { name, file } of await textile(kind, count)) await copyFile(file, join(folder, name));
  return folder;
}

/** Of a frame that no set-up holds. */
async function nextVerdict(nth: number) {
  const want = site.inbox.verdicts.length + 1;
  const frame = (await textile("good", nth + 1))[nth];
  await site.place("line", `frame-${nth}.jpg`, frame?.bytes as Uint8Array);
  await until("the verdict", () => site.inbox.verdicts.length >= want);
  return site.inbox.verdicts.at(-1) as EdgeSite["inbox"]["verdicts"][number];
}

function noTerminal(): string | false {
  return existsSync(SCRIPT) ? false : "script is not installed (Debian: apt install bsdutils)";
}

/** Answers each question once it stands in what came since the answer before. */
async function atTerminal(answers: [RegExp, string][], locale: string): Promise<{ code: number | null; output: string }> {
  const command = [process.execPath, "--conditions=kenpin-source", MAIN, "setup", "--config", site.configFile];
  const env = { ...process.env, LC_ALL: locale, TERM: "dumb", SHELL: "/bin/sh" };
  const child = spawn(SCRIPT, ["-qefc", command.join(" "), "/dev/null"], { stdio: "pipe", env });
  let [output, seen] = ["", 0];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    const next = answers[0];
    if (!next?.[0].test(output.slice(seen))) return;
    answers.shift();
    if (!answers[0]?.[0].flags.includes("s")) seen = output.length;
    child.stdin.write(next[1] === "\u0004" ? next[1] : `${next[1]}\r`);
  });
  const code = await new Promise<number | null>((done) => child.once("close", done));
  assert.deepEqual(answers, [], output);
  return { code, output };
}
