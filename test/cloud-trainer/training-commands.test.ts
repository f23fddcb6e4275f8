/** `kenpin baseline`, `generate` and `stage` as a user types them; errors are one line and exit code 1. */
import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { StagedManifest } from "../../cloud-trainer/src/bundle/staged.ts";
import { createTokenizer, modelConfig } from "@kenpin/clip";
import { inFolder, type Ran, runKenpin } from "./import/seeded-checkpoint.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const TEXTILE = join(ROOT, "examples/textile");
const BASE = join(ROOT, "cloud-trainer/base");

test("the baseline scores pictures by what it was shown: good ones below bad ones of a kind it can see", async () => {
  await inFolder(async (dir) => {
    const [good, bad] = [pictures("good", 12), pictures("global", 12)];
    const train = [
      ...good.slice(0, 8).map((file) => ({ file, label: "good" })),
      ...bad.slice(0, 8).map((file) => ({ file, label: "bad" })),
    ];
    const test = [...good.slice(8), ...bad.slice(8)];
    const request = await place(dir, { train, test });
    const { code, stdout, stderr } = await runKenpin(["baseline", "--request", request, "--json"]);
    assert.equal(code, 0, stderr);
    const { scores } = JSON.parse(stdout) as { scores: number[] };
    assert.equal(scores.length, test.length);
    assert.ok(scores.every((score) => score >= 0 && score <= 1));
    const mean = (some: number[]) => some.reduce((sum, value) => sum + value, 0) / some.length;
    assert.ok(mean(scores.slice(0, 4)) < mean(scores.slice(4)), `${scores}`);
    const plain = await runKenpin(["baseline", "--request", request]);
    const lines = plain.stdout.trim().split("\n");
    assert.deepEqual(
      lines,
      scores.map((score, i) => `${score.toFixed(4)}  ${test[i]}`),
    );
  });
});

test("a baseline with one label only, an empty request, a misspelt key, or no request ends with one clear line", async () => {
  await inFolder(async (dir) => {
    const [first, second] = pictures("good", 2) as [string, string];
    const train = [first, second].map((file) => ({ file, label: "good" }));
    const baseline = (file: string) => runKenpin(["baseline", "--request", file]);
    failed(await baseline(await place(dir, { train, test: [] })), /needs good and bad pictures .* \[one-class-only\]$/);
    failed(await baseline(await place(dir, { train: [], test: [] })), /at train: .*\[invalid-input\]$/);
    failed(await baseline(await place(dir, { train, tests: [] })), /unknown key "tests", did you mean "test"\?/);
    failed(await baseline(join(dir, "nowhere.json")), /no such file/);
    await writeFile(join(dir, "broken.json"), "{");
    failed(await baseline(join(dir, "broken.json")), /JSON/);
  });
});

test("a shard of surfaces holds what its index says, and the same seed writes the same bytes", async () => {
  await inFolder(async (dir) => {
    const config = modelConfig("kenpin-s-8");
    const write = (name: string, seed: string) => runKenpin(["generate", "--out", join(dir, name), "--count", "20", "--seed", seed]);
    for (const [name, seed] of [
      ["a", "5"],
      ["b", "5"],
      ["c", "6"],
    ] as const) {
      assert.equal((await write(name, seed)).code, 0);
    }
    const read = (folder: string, name: string) => readFile(join(dir, folder, name));
    for (const name of await readdir(join(dir, "a"))) assert.ok((await read("a", name)).equals(await read("b", name)), name);
    assert.ok(!(await read("a", "pictures.u8")).equals(await read("c", "pictures.u8")));
    const index = JSON.parse((await read("a", "index.json")).toString("utf8")) as {
      count: number;
      captionsEach: number;
      captions: { text: string; ids: number[]; material: number; state: number; defect: number }[];
      materials: string[];
      defects: string[];
    };
    const pixels = config.image.size ** 2;
    const [pictureBytes, masks] = [await read("a", "pictures.u8"), await read("a", "masks.u8")];
    const labels = new Int32Array(new Uint8Array(await read("a", "labels.i32")).buffer);
    assert.deepEqual([index.count, pictureBytes.length, masks.length], [20, 20 * 3 * pixels, 20 * pixels]);
    assert.equal(labels.length, 20 * (2 + index.captionsEach));
    const { encode } = createTokenizer(config.text);
    for (const { text, ids } of index.captions) assert.deepEqual(ids, [...encode(text)]);
    for (let i = 0; i < 20; i++) {
      const [material, defect, ...captions] = labels.subarray(i * 6, (i + 1) * 6) as unknown as number[];
      assert.ok((material as number) >= 0 && (material as number) < index.materials.length);
      assert.equal(
        (defect as number) >= 0,
        masks.subarray(i * pixels, (i + 1) * pixels).some((value) => value > 0),
      );
      for (const id of captions) {
        const caption = index.captions[id] as (typeof index.captions)[number];
        if (caption.material >= 0) assert.equal(caption.material, material, caption.text);
        if (caption.defect >= 0) assert.equal(caption.defect, defect, caption.text);
        if (caption.state >= 0) assert.equal(caption.state === 1, (defect as number) >= 0, caption.text);
      }
    }
  });
});

test("kenpin stage prints what the manifest will say; without a model or with bad words it ends with one clear line", async () => {
  await inFolder(async (dir) => {
    const words = await place(dir, { good: ["even cloth"], bad: ["torn cloth"] });
    const stage = (model: string, file: string) => runKenpin(["stage", "--model", model, "--words", file, "--out", join(dir, "out")]);
    const ran = await stage(BASE, words);
    assert.equal(ran.code, 0, ran.stderr);
    const manifest = StagedManifest.parse(JSON.parse(ran.stdout));
    assert.deepEqual(
      manifest.golden.map(({ file }) => file),
      await Promise.all((await readdir(join(dir, "out/golden"))).sort((a, b) => order(a) - order(b)).map((name) => `golden/${name}`)),
    );
    failed(await stage(join(dir, "nowhere"), words), /expected a folder with model\.safetensors, config\.json, .*\[weights-unreadable\]$/);
    failed(await stage(BASE, await place(dir, { good: ["even"], bad: [] })), /at bad: /);
    failed(await stage(BASE, await place(dir, { good: ["even"], bad: ["torn"], goods: [] })), /unknown key "goods", did you mean "good"\?/);
    failed(await stage(BASE, join(dir, "none.json")), /\[file-unreadable\]$/);
  });
});

function order(name: string): number {
  return Number(/\d+/.exec(name)?.[0]);
}

function pictures(kind: string, count: number): string[] {
  return globSync(`${kind}/*`, { cwd: TEXTILE })
    .sort()
    .slice(0, count)
    .map((name) => join(TEXTILE, name));
}

async function place(dir: string, value: unknown): Promise<string> {
  const file = join(dir, `${crypto.randomUUID()}.json`);
  await writeFile(file, JSON.stringify(value));
  return file;
}

/** Exit code 1 and one line on stderr, that begins with the program's name and holds no stack trace. */
function failed({ code, stderr }: Ran, pattern: RegExp): void {
  assert.equal(code, 1);
  assert.match(stderr, /^kenpin: [^\n]+\n$/);
  assert.match(stderr.trim(), pattern);
}
