/** A bundle evaluated from end to end: the real inspector on drawn parts, by all three protocols, and what is refused in one line. */
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { Evaluation } from "@kenpin/schema";
import { createRandom, type Random } from "@kenpin/stats";
import sharp from "sharp";
import { evaluationText } from "../../cloud-trainer/src/evaluate/evaluation-text.ts";
import { type EvaluationJob, evaluateBundle } from "../../cloud-trainer/src/evaluate-bundle.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { testBundle } from "../support/test-bundle.ts";
import { unpackedTestBundle } from "../support/unpacked-bundle.ts";

const SIDE = 48;
const BASE = join(import.meta.dirname, "../../cloud-trainer/base");
let folder: string;
let parts: string;
let bundleDir: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-evaluate-"));
  parts = join(folder, "parts");
  await drawSet(parts, createRandom(8));
  bundleDir = await unpackedTestBundle(join(folder, "bundle"));
});
after(() => rm(folder, { recursive: true, force: true }));

const plan: EvaluationJob["plan"] = { name: "words", references: 0, exemplars: 0, calibration: 0, test: null, seeds: [1], alpha: 0.1 };
const fewshot: EvaluationJob["plan"] = { ...plan, name: "fewshot", exemplars: 16, calibration: 12, test: 16, seeds: [1, 2, 3] };

async function run(changes: Partial<EvaluationJob> = {}) {
  const notes: string[] = [];
  const job: EvaluationJob = {
    bundle: bundleDir,
    data: parts,
    plan,
    words: BASE_WORDS,
    precision: "fp32",
    controls: false,
    retrainSeconds: null,
    language: "en",
    now: new Date("2026-01-02T03:04:05Z"),
    onProgress: () => {},
    onNote: (line) => notes.push(line),
    ...changes,
  };
  const { evaluation, scores } = await evaluateBundle(job);
  return { evaluation: Evaluation.parse(JSON.parse(JSON.stringify(evaluation))), scores, notes };
}

const refused = (code: string, message: RegExp) => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  assert.match(error.message, /^[^\n]+$/);
  return true;
};

test("in MVTec's layout the training part teaches, the test part judges, masks give pixel figures, and every score is told", async () => {
  const { evaluation, scores } = await run({ plan: { ...plan, name: "references", references: 8 } });
  const { image, pixel, protocol, data, latencyMs, intervals, standardErrors, baseline } = evaluation;
  assert.deepEqual([data.good, data.defective, data.kinds], [38, 24, { blot: 12, dent: 12 }]);
  assert.deepEqual([protocol.used.references, protocol.used.testGood, protocol.used.testDefective], [8, 26, 24]);
  assert.ok((pixel?.aupro as number) > 0.2 && pixel?.pictures === 24 && pixel.regions === 24, JSON.stringify(pixel));
  assert.ok(latencyMs.total.p50 >= latencyMs.decode.p50 + latencyMs.preprocess.p50 && latencyMs.infer.p95 >= latencyMs.infer.p50);
  assert.ok(intervals?.image.auroc && intervals.image.auroc.low <= (image.auroc as number));
  assert.equal(standardErrors, null);
  assert.ok((baseline?.image.auroc as number) > 0.9, "a blot is plain to plain numbers");
  assert.match(baseline?.how.en ?? "", /distance from the same references/);
  assert.equal(scores.length, 50);
  const escapes = scores.filter(({ label, score }) => label === "bad" && score < protocol.cut).length;
  assert.ok(Math.abs((image.escapeRate as number) - escapes / 24) < 1e-12);
  assert.equal(evaluation.escapes.length, escapes);
});

test("few-shot over seeds: means with errors, the same again from what was kept, and what has not been judged goes on", async () => {
  const keep = join(folder, "keep");
  const short = await run({ plan: { ...fewshot, seeds: [1, 2] }, keep });
  const whole = await run({ plan: fewshot, keep });
  assert.equal((await readdir(keep)).length, 3);
  const again = await run({ plan: fewshot });
  for (const key of ["image", "coverage", "calibrationError", "seeds", "standardErrors", "baseline"] as const) {
    assert.deepEqual(whole.evaluation[key], again.evaluation[key], key);
  }
  assert.deepEqual(short.evaluation.seeds, whole.evaluation.seeds.slice(0, 2));
  const { protocol, standardErrors, coverage, intervals } = whole.evaluation;
  assert.deepEqual(protocol.used, { references: 0, exemplars: 16, calibration: 12, test: 16, testGood: 8, testDefective: 8 });
  assert.equal(protocol.coverageBy, "calibration-split");
  assert.ok((standardErrors?.image.auroc as number) >= 0 && coverage.good !== null);
  assert.equal(intervals, null);
  assert.match(
    evaluationText(whole.evaluation, "en"),
    /exemplars 16, calibration 12, test 8 \+ 8, seeds 3\n[\s\S]*this bundle +\d\.\d{4} ± /,
  );
  const beaten = (whole.evaluation.image.auroc as number) > (whole.evaluation.baseline?.image.auroc as number);
  assert.match(evaluationText(whole.evaluation, "en"), beaten ? /better than the plain numbers do/ : /not yet useful/);
  assert.match(evaluationText(whole.evaluation, "ja"), /このバンドル {2}[\s\S]*見逃し/);
});

test("more than there is: the test gets what is left, and the evaluation says so", async () => {
  const { evaluation } = await run({ plan: { ...fewshot, exemplars: 30, calibration: 30, seeds: [1] } });
  assert.deepEqual([evaluation.protocol.used.exemplars, evaluation.protocol.used.calibration, evaluation.protocol.used.test], [30, 16, 2]);
  assert.match(
    evaluation.protocol.notes.map(({ en }) => en).join("; "),
    /16 pictures for calibration, not 30.*2 pictures for the test, not 16/,
  );
});

test("a .kenpin file is proven by the key beside it or given; without one it is measured with a warning; a wrong key refuses it", async () => {
  const { file, signer } = await testBundle();
  const hub = join(folder, "hub");
  await mkdir(join(hub, "bundles"), { recursive: true });
  await cp(file, join(hub, "bundles/one.kenpin"));
  const bundle = join(hub, "bundles/one.kenpin");
  const unproven = await run({ bundle });
  assert.match(unproven.notes.join(), /nobody has checked who signed/);
  await mkdir(join(hub, "keys"));
  await writeFile(join(hub, "keys/root.pub"), `${signer.rootKey}\n`);
  const proven = await run({ bundle });
  assert.deepEqual(proven.notes, []);
  assert.deepEqual(proven.evaluation.image, unproven.evaluation.image);
  assert.deepEqual([proven.evaluation.bundle.kind, proven.evaluation.bundle.name], ["bundle", "test stripes"]);
  await assert.rejects(run({ bundle, rootKey: "A".repeat(43) }), refused("signature-invalid", /not signed by a key this device trusts/));
  const changed = await readFile(bundle);
  changed[changed.length - 3000] = (changed[changed.length - 3000] as number) ^ 1;
  await writeFile(join(folder, "changed.kenpin"), changed);
  await assert.rejects(
    run({ bundle: join(folder, "changed.kenpin") }),
    refused("bundle-digest-mismatch", /is not the file its manifest names/),
  );
});

test("a folder of weights is staged with words; the same architecture with random weights is judged beside it", async () => {
  const { evaluation } = await run({ bundle: BASE, controls: true, plan: { ...fewshot, test: 12, seeds: [1] } });
  assert.equal(evaluation.bundle.kind, "weights");
  assert.deepEqual(evaluation.bundle.good, BASE_WORDS.good);
  assert.ok(evaluation.model.parameters > 1e6);
  assert.ok(evaluation.randomWeights?.image.auroc !== null && evaluation.randomWeights?.standardErrors === null);
  assert.match(evaluation.randomWeights?.how.ja ?? "", /重みが乱数/);
  assert.ok((evaluation.image.auroc as number) > 0.8, JSON.stringify(evaluation.image));
  await assert.rejects(run({ controls: true }), refused("weights-missing", /holds no weights.*random weights of the same architecture/));
});

test("slices of a table stand beside brightness; a table of other pictures is refused", async () => {
  const table = join(folder, "slices.csv");
  const files = (await readdir(join(parts, "test/good"))).map((name) => `test/good/${name}`);
  await writeFile(table, `file,camera\n${files.map((file, i) => `${file},camera-${i % 2}`).join("\n")}\n`);
  const { evaluation } = await run({ slices: table, drawnAtRandom: 0.5 });
  assert.ok(!evaluation.findings.some(({ kind }) => kind === "nothing-random"));
  assert.deepEqual(
    evaluation.slices.map(({ column }) => column),
    ["brightness", "camera"],
  );
  await writeFile(table, "file,camera\nelsewhere.png,one\n");
  await assert.rejects(run({ slices: table }), refused("table-foreign", /names none of the set's pictures/));
  await writeFile(table, "camera,lot\none,two\n");
  await assert.rejects(run({ slices: table }), refused("table-columns", /no column file \(or path\); its columns are camera, lot/));
});

test("a picture that cannot be read is named and left out; past a tenth the set is refused", async () => {
  const set = join(folder, "broken");
  await cp(parts, set, { recursive: true });
  const good = join(set, "test/good");
  const [first, ...others] = await readdir(good);
  await writeFile(join(good, first as string), "no picture");
  const { evaluation, notes } = await run({ data: set });
  assert.deepEqual(
    evaluation.data.leftOut.map(({ picture }) => picture),
    [`test/good/${first}`],
  );
  assert.match(notes.join(), new RegExp(`test/good/${first} is left out`));
  assert.ok(
    evaluation.findings.some(({ kind }) => kind === "not-a-picture"),
    JSON.stringify(evaluation.findings),
  );
  for (const name of others.slice(0, 8)) await writeFile(join(good, name), "");
  await assert.rejects(run({ data: set }), refused("set-unreadable", /9 of 62 pictures cannot be read, more than 10 %/));
});

test("an empty class, one picture, masks of another size, a folder that is no set, no bundle: one clear line each", async () => {
  const set = async (name: string, fill: (dir: string) => Promise<void>) => {
    const dir = join(folder, name);
    await mkdir(dir);
    await fill(dir);
    return dir;
  };
  const onlyGood = await set("only-good", (dir) => cp(join(parts, "test/good"), join(dir, "good"), { recursive: true }));
  await mkdir(join(onlyGood, "dent"));
  await assert.rejects(run({ data: onlyGood }), refused("one-class-only", /has 26 good and 0 defective pictures; both are needed/));
  const one = await set("one", async (dir) => save(join(dir, "good/1.png"), await part(createRandom(1), false)));
  await assert.rejects(run({ data: one }), refused("one-class-only", /1 good and 0 defective/));
  const two = await set("two", async (dir) => {
    for (const kind of ["good", "dent"]) await save(join(dir, `${kind}/1.png`), await part(createRandom(1), false));
  });
  const { evaluation } = await run({ data: two });
  assert.deepEqual([evaluation.protocol.used.test, evaluation.baseline], [2, null]);
  await assert.rejects(run({ data: two, plan: fewshot }), refused("set-too-small", /16 exemplars need 8 pictures of each label/));
  const masks = await set("masks", (dir) => cp(parts, dir, { recursive: true }));
  await save(
    join(masks, "ground_truth/blot/03_mask.png"),
    await sharp({ create: { width: 20, height: 30, channels: 3, background: "white" } })
      .png()
      .toBuffer(),
  );
  await assert.rejects(run({ data: masks }), refused("mask-size", /mask of test\/blot\/03.png has 20 × 30 pixels, its picture 48 × 48/));
  await assert.rejects(run({ data: join(folder, "hub") }), refused("set-unknown", /is no set of pictures/));
  await assert.rejects(run({ bundle: parts }), refused("bundle-unknown", /holds neither a bundle's files/));
  await assert.rejects(run({ bundle: join(folder, "nowhere") }), refused("bundle-missing", /cannot be opened \(ENOENT\)/));
  await writeFile(join(folder, "text.kenpin"), "a".repeat(2000));
  await assert.rejects(run({ bundle: join(folder, "text.kenpin") }), (error: Error) => /^[^\n]+$/.test(error.message));
});

/** train/good 12, test/good 26, two kinds of 12 with masks: stripes with a blot or a bright dent. */
async function drawSet(root: string, random: Random): Promise<void> {
  const name = (i: number) => `${String(i).padStart(2, "0")}`;
  for (let i = 0; i < 12; i++) await save(join(root, `train/good/${name(i)}.png`), await part(random, false));
  for (let i = 0; i < 26; i++) await save(join(root, `test/good/${name(i)}.png`), await part(random, false));
  for (const [kind, level] of [
    ["blot", -90],
    ["dent", 90],
  ] as const) {
    for (let i = 0; i < 12; i++) {
      const at = { x: 8 + random.int(24), y: 8 + random.int(24), level };
      await save(join(root, `test/${kind}/${name(i)}.png`), await part(random, at));
      await save(join(root, `ground_truth/${kind}/${name(i)}_mask.png`), await png((x, y) => (inside(at, x, y) ? 255 : 0)));
    }
  }
}

type Spot = { x: number; y: number; level: number };

function part(random: Random, spot: Spot | false): Promise<Buffer> {
  const phase = random.next() * 6;
  return png((x, y) => 120 + 40 * Math.sin(x / 2 + phase) + random.between(-15, 15) + (spot && inside(spot, x, y) ? spot.level : 0));
}

function inside(spot: Spot, x: number, y: number): boolean {
  return x >= spot.x && x < spot.x + 12 && y >= spot.y && y < spot.y + 12;
}

function png(level: (x: number, y: number) => number): Promise<Buffer> {
  const data = Buffer.alloc(SIDE * SIDE * 3);
  for (let p = 0; p < SIDE * SIDE; p++)
    data.fill(Math.min(255, Math.max(0, Math.round(level(p % SIDE, Math.floor(p / SIDE))))), p * 3, p * 3 + 3);
  return sharp(data, { raw: { width: SIDE, height: SIDE, channels: 3 } })
    .png()
    .toBuffer();
}

async function save(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, bytes);
}
