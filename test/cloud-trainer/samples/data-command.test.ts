/** `kenpin data` as a user runs it: words, JSON, exit codes, and one line for each mistake. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdir, readFile, truncate } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import sharp from "sharp";
import { freshFolder, place, surface } from "./made-set.ts";

const CLI = resolve(import.meta.dirname, "../../../cloud-trainer/src/cli.ts");
const FLAGS = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];

function data(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...FLAGS, CLI, "data", ...args], { encoding: "utf8" });
}

async function madeFolder(): Promise<string> {
  const files: Record<string, Uint8Array> = {};
  for (let i = 0; i < 20; i++) files[`${i % 2 ? "キズ" : "良品"}/写真 ${i}.png`] = await surface(i);
  return place(await freshFolder(), files);
}

test("a set in order is checked, split, shown and packed, and what was packed is the same set", async () => {
  const root = await madeFolder();
  const check = data("check", root, "--model", "kenpin-s-8", "--drawn-at-random", "0.1");
  assert.equal(check.stderr, "");
  assert.equal(check.status, 0);
  assert.match(check.stdout, /: 20 pictures \(キズ 10, good 10\), digest [0-9a-f]{12}\nnothing to complain of\n$/);

  const split = data("split", root, "--test", "0.3", "--out", join(root, "split.csv"), "--json");
  assert.deepEqual(JSON.parse(split.stdout).test, { キズ: 3, good: 3 });
  const dealt = data("check", join(root, "split.csv"), "--json");
  assert.equal(dealt.status, 0, dealt.stdout);

  const out = await freshFolder();
  assert.equal(data("sheet", root, "--out", join(out, "sheet.png"), "--count", "10").status, 0);
  const { width, height } = await sharp(join(out, "sheet.png")).metadata();
  assert.ok(width > 500 && height > 200, `${width} × ${height}`);

  const shards = JSON.parse(data("shard", root, "--out", join(out, "shards"), "--pictures", "8", "--json").stdout);
  assert.deepEqual([shards.pictures, shards.shards.length], [20, 3]);
  assert.equal((await readdir(join(out, "shards"))).length, 4);
  const again = JSON.parse(data("check", join(out, "shards"), "--json").stdout);
  assert.deepEqual([again.digest, again.kinds], [JSON.parse(data("check", root, "--json").stdout).digest, { キズ: 10, good: 10 }]);
});

test("a set that would spoil training ends with exit code 1, each fault said with its advice, in Japanese too", async () => {
  const root = await place(await madeFolder(), { "良品/空.png": "", "キズ/嘘.png": "no picture" });
  const { status, stdout } = data("check", root);
  assert.equal(status, 1);
  assert.match(stdout, /^error empty-file: files without a byte: 1\n {4}copy them again, or remove them\n {4}良品\/空\.png$/m);
  assert.match(stdout, /^error not-a-picture: /m);
  const japanese = data("check", root, "--language", "ja");
  assert.equal(japanese.status, 1);
  assert.match(japanese.stdout, /^error empty-file: 空のファイルが1件あります\n {4}もう一度コピーするか、取り除いてください$/m);
});

test("a mistake is one line and exit code 1, and nothing that was there is written over", async () => {
  const root = await madeFolder();
  const out = await freshFolder();
  const shards = join(out, "shards");
  assert.equal(data("shard", root, "--out", shards).status, 0);
  const shard = (await readdir(shards)).find((name) => name.endsWith(".tar")) as string;
  await truncate(join(shards, shard), 5000);
  const table = await place(await freshFolder(), { "t.csv": "name\nx\n", "u.csv": "path\ngone.png\n" });
  assert.equal(data("split", root, "--out", join(root, "s.csv")).status, 0);
  const before = await readFile(join(root, "s.csv"));
  const mistakes: [string[], RegExp][] = [
    [["check", join(out, "nowhere")], /nowhere cannot be opened \(ENOENT\).* \[set-missing\]/],
    [["check", await freshFolder()], /is an empty folder/],
    [["check", shards], /says \d+ bytes, there are 5000/],
    [["check", join(table, "t.csv")], /has no column path/],
    [["check", join(table, "u.csv")], /row 2 names gone\.png, which is not there/],
    [["check", root, "--model", "nobody"], /no model is called "nobody"; known: /],
    [["check", root, "--language", "fr"], /kenpin data check at language: /],
    [["check", root, "--drawn-at-random", "3"], /kenpin data check at drawnAtRandom: /],
    [["shard", root, "--out", shards], /already holds \d+ files/],
    [["split", root, "--test", "1"], /kenpin data split at test: /],
    [["split", root, "--out", join(out, "s.csv")], /must lie in .*write it to .*split\.csv/],
    [["split", root, "--out", join(root, "s.csv")], /s\.csv is there already/],
    [["sheet", root, "--out", join(out, "no/sheet.png")], /sheet\.png/],
  ];
  for (const [args, says] of mistakes) {
    const { status, stdout, stderr } = data(...args);
    assert.equal(status, 1, args.join(" "));
    assert.equal(stdout, "", args.join(" "));
    assert.match(stderr, /^kenpin: [^\n]+\n$/);
    assert.match(stderr, says);
  }
  assert.deepEqual(await readFile(join(root, "s.csv")), before);
});
