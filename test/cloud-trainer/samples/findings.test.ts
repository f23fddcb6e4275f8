/** A set looked at before training: each fault is found where it is, and a set without faults gives none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { modelConfig } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import sharp, { type Sharp } from "sharp";
import { FINDING_TEXTS } from "../../../cloud-trainer/src/samples/checks/finding-texts.ts";
import { type Finding, findingsOf } from "../../../cloud-trainer/src/samples/findings.ts";
import { openPictureSet } from "../../../cloud-trainer/src/samples/picture-set.ts";
import { freshFolder, place, plain, surface } from "./made-set.ts";

const config = modelConfig("kenpin-s-8");

async function findingsIn(files: Record<string, Uint8Array | string>, options: Parameters<typeof findingsOf>[1] = {}): Promise<Finding[]> {
  return findingsOf(await openPictureSet(await place(await freshFolder(), files)), { config, ...options });
}
const kinds = (findings: readonly Finding[]) => findings.map(({ kind }) => kind).filter((kind) => kind !== "nothing-random");
const named = (findings: readonly Finding[], kind: string) => findings.find((finding) => finding.kind === kind)?.pictures;

async function goodAndBad(count: number): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (let i = 0; i < count; i++) files[`${i % 2 ? "bad" : "good"}/${i}.png`] = await surface(1000 + i);
  return files;
}

test("a set in order has nothing to complain of", async () => {
  const set = await openPictureSet(await place(await freshFolder(), await goodAndBad(12)), { drawProbability: 0.1 });
  assert.deepEqual(await findingsOf(set, { config }), []);
});

test("files that are empty, no pictures, cut short or of another type than they say are told apart", async () => {
  const findings = await findingsIn({
    ...(await goodAndBad(6)),
    "bad/empty.png": "",
    "bad/text.png": "no picture",
    "bad/cut.jpg": (await surface(1, { format: "jpeg" })).subarray(0, 700),
    "good/lies.png": await surface(2, { format: "jpeg" }),
    "good/notes.txt": "x",
  });
  assert.deepEqual(kinds(findings), ["empty-file", "not-a-picture", "unreadable", "wrong-ending", "skipped"]);
  assert.deepEqual(
    ["empty-file", "not-a-picture", "unreadable", "wrong-ending", "skipped"].map((kind) => named(findings, kind)),
    [["bad/empty.png"], ["bad/text.png"], ["bad/cut.jpg"], ["good/lies.png"], ["good/notes.txt"]],
  );
  assert.deepEqual(
    findings.map(({ severity }) => severity),
    ["error", "error", "error", "warning", "warning", "warning"],
  );
});

test("a picture of more than 100 megapixels is refused without being unpacked", async () => {
  const bomb = await sharp({ create: { width: 11_000, height: 10_000, channels: 3, background: "#000" } })
    .png()
    .toBuffer();
  assert.ok(bomb.length < 1024 ** 2);
  const findings = await findingsIn({ ...(await goodAndBad(6)), "bad/bomb.png": new Uint8Array(bomb) });
  assert.deepEqual(named(findings, "unreadable"), ["bad/bomb.png"]);
});

test("the same picture with two labels is an error, the same picture twice a warning, in whatever format", async () => {
  const [twice, both] = [await surface(1), await surface(2)];
  const packed = new Uint8Array(await sharp(twice).webp({ lossless: true }).toBuffer());
  const findings = await findingsIn({
    ...(await goodAndBad(6)),
    "good/a.png": twice,
    "good/b.webp": packed,
    "good/c.png": both,
    "bad/c.png": both,
  });
  assert.deepEqual(kinds(findings), ["labels-contradict", "duplicates"]);
  assert.deepEqual(named(findings, "labels-contradict"), ["bad/c.png", "good/c.png"]);
  assert.deepEqual(named(findings, "duplicates"), ["bad/c.png", "good/c.png", "good/a.png", "good/b.webp"]);
});

test("near copies are found: packed again, made smaller, made brighter", async () => {
  const files = await goodAndBad(40);
  const copy = async (from: string, change: (image: Sharp) => Sharp) =>
    new Uint8Array(await change(sharp(files[from] as Uint8Array)).toBuffer());
  const findings = await findingsIn({
    ...files,
    "good/x.jpg": await copy("good/0.png", (image) => image.jpeg({ quality: 50 })),
    "good/y.png": await copy("good/2.png", (image) => image.resize(80, 66, { fit: "fill" })),
    "bad/z.png": await copy("good/4.png", (image) => image.linear(1.1, 5)),
  });
  assert.deepEqual(kinds(findings), ["near-duplicates", "alike-contradict", "too-small"]);
  assert.deepEqual(
    new Set(named(findings, "near-duplicates")),
    new Set(["good/0.png", "good/x.jpg", "good/2.png", "good/y.png", "good/4.png", "bad/z.png"]),
  );
  assert.deepEqual(new Set(named(findings, "alike-contradict")), new Set(["good/4.png", "bad/z.png"]));
});

test("parts that lie under a fixed camera look alike and are not called copies, but copies of one are", async () => {
  const files: Record<string, Uint8Array> = {};
  for (let i = 0; i < 60; i++) files[`good/${i}.png`] = await underFixedCamera(i);
  files["good/again.jpg"] = new Uint8Array(await sharp(files["good/7.png"]).jpeg({ quality: 80 }).toBuffer());
  const findings = await findingsIn(files);
  assert.deepEqual(kinds(findings), ["near-duplicates", "no-bad"]);
  assert.deepEqual(named(findings, "near-duplicates"), ["good/7.png", "good/again.jpg"]);
});

test("what leaks over the set's own split is an error where it is the same, a warning where it is nearly so", async () => {
  const [same, near] = [await surface(1), await surface(2)];
  const findings = await findingsIn({
    "train/good/lot-1/a.png": await surface(3),
    "test/good/lot-1/b.png": await surface(4),
    "train/good/lot-2/c.png": same,
    "test/good/lot-3/d.png": same,
    "train/good/lot-4/e.png": near,
    "test/good/lot-5/f.jpg": new Uint8Array(await sharp(near).jpeg({ quality: 85 }).toBuffer()),
    "test/bad/g.png": await surface(5),
  });
  assert.deepEqual(kinds(findings), [
    "group-on-both-sides",
    "picture-on-both-sides",
    "duplicates",
    "near-duplicates",
    "alike-on-both-sides",
  ]);
  assert.deepEqual(named(findings, "group-on-both-sides"), ["test/good/lot-1/b.png", "train/good/lot-1/a.png"].sort().reverse());
  assert.deepEqual(named(findings, "picture-on-both-sides"), ["train/good/lot-2/c.png", "test/good/lot-3/d.png"]);
  assert.deepEqual(named(findings, "alike-on-both-sides"), ["train/good/lot-4/e.png", "test/good/lot-5/f.jpg"]);
});

test("black, over-exposed, blurred and small pictures are named with their figures", async () => {
  const findings = await findingsIn({
    ...(await goodAndBad(10)),
    "bad/black.png": await plain(3),
    "bad/white.png": await plain(255),
    "bad/blurred.png": await surface(1, { blur: 5 }),
    "good/small.png": await surface(2, { width: 60, height: 50 }),
  });
  assert.deepEqual(kinds(findings), ["too-small", "black", "over-exposed", "blurred"]);
  for (const [kind, key] of Object.entries({
    "too-small": "good/small.png",
    black: "bad/black.png",
    "over-exposed": "bad/white.png",
    blurred: "bad/blurred.png",
  })) {
    assert.deepEqual(named(findings, kind), [key]);
  }
  assert.match(findings.find(({ kind }) => kind === "over-exposed")?.message ?? "", /100 % of the pixels are white, 0 % is usual/);
});

test("labels that are missing, lopsided or of one kind only are said", async () => {
  const good: Record<string, Uint8Array> = {};
  for (let i = 0; i < 24; i++) good[`good/${i}.png`] = await surface(i);
  assert.deepEqual(kinds(await findingsIn({ ...good, "bad/x.png": await surface(99), "bad/y.png": await surface(98) })), ["imbalance"]);
  assert.deepEqual(kinds(await findingsIn({ ...good, "unlabelled/x.png": await surface(99), "dent/readme.md": "x" })), [
    "skipped",
    "empty-kind",
    "unlabelled",
    "no-bad",
  ]);
  const table = { "a.png": await surface(1), "b.png": await surface(2), "t.csv": "path,label\na.png,bad\nb.png,bad\n" };
  assert.deepEqual(kinds(await findingsIn(table)), ["no-good"]);
});

test("captions that are missing or longer than the model's context are named", async () => {
  const files = {
    "a.png": await surface(1),
    "b.png": await surface(2),
    "c.png": await surface(3),
    "t.csv": `path,caption,label\na.png,${"a long description of a part ".repeat(20)},good\nb.png,short,bad\nc.png,,bad\n`,
  };
  const findings = await findingsIn(files);
  assert.deepEqual(kinds(findings), ["caption-empty", "caption-too-long"]);
  assert.deepEqual(named(findings, "caption-empty"), ["c.png"]);
  assert.deepEqual(named(findings, "caption-too-long"), ["a.png"]);
  assert.match(findings.find(({ kind }) => kind === "caption-too-long")?.message ?? "", /model's 24 tokens: 1 \(the longest has \d{3}\)/);
  assert.deepEqual(kinds(await findingsIn(files, { config: null })), ["caption-empty"], "without a model no length is too long");
});

test("masks that do not fit their pictures are an error", async () => {
  const findings = await findingsIn({
    "train/good/a.png": await surface(1),
    "test/dent/b.png": await surface(2),
    "ground_truth/dent/b_mask.png": await surface(3, { width: 48 }),
    "test/dent/c.png": await surface(4),
    "ground_truth/dent/c_mask.png": "no picture",
  });
  assert.deepEqual(named(findings, "mask-mismatch"), ["test/dent/b.png", "test/dent/c.png"]);
  assert.match(findings[0]?.message ?? "", /48 × 80/);
});

test("each finding is said in Japanese too, with the same figures", async () => {
  const [finding] = await findingsIn({ ...(await goodAndBad(6)), "bad/empty.png": "" }, { language: "ja" });
  assert.equal(finding?.message, "空のファイルが1件あります");
  const figures = (text: string) => new Set(text.match(/\{\w+\}/g));
  for (const [kind, { en, ja }] of Object.entries(FINDING_TEXTS)) {
    assert.deepEqual(figures(ja.message), figures(en.message), kind);
    assert.match(ja.message + ja.advice, /[ぁ-んァ-ン]/, kind);
  }
});

test("a list of pictures is bounded, its count is not, and progress reaches the end", async () => {
  const files = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`bad/${i}.png`, ""]));
  const told: number[] = [];
  const findings = await findingsIn({ ...files, "good/a.png": await surface(1) }, { onProgress: (done) => told.push(done) });
  assert.deepEqual([findings[0]?.count, findings[0]?.pictures.length], [50, 20]);
  assert.equal(told.at(-1), 51);
});

/** The same part in the same place: only its grain, the light and the sensor's noise differ. */
async function underFixedCamera(seed: number): Promise<Uint8Array> {
  const random = createRandom(seed);
  const light = random.between(0.95, 1.05);
  const [width, height] = [128, 112];
  const data = new Uint8Array(width * height * 3);
  for (let p = 0; p < width * height; p++) {
    const [x, y] = [(p % width) - 64, Math.floor(p / width) - 56];
    const shape = Math.hypot(x, y) < 40 ? 170 - Math.abs(x) : 60 + y / 4;
    const level = light * (shape + 8 * random.normal());
    data.fill(Math.min(255, Math.max(0, Math.round(level))), p * 3, p * 3 + 3);
  }
  return new Uint8Array(
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  );
}
