/**
 * InfoNCE and SigLIP's loss, whole and in tiles, with their gradients by images, texts, scale and bias: against open_clip's
 * (test/fixtures/train/make_losses.py), against central differences in float64, and in tiles against the whole.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadBackend, type Tensor, type Tensor2D } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { clipLoss, contrastiveLoss, sigmoidLoss } from "../../../cloud-trainer/src/train/engines/tfjs/losses.ts";
import { captionRelations, lossInTiles, pairRelations, type Relations } from "../../../cloud-trainer/src/train/engines/tfjs/tiled-loss.ts";
import { draw } from "../../onnx/seeded-weights.ts";

type Rows = number[][];
type Gradients = { image: number[]; text: number[]; scale: number; bias: number };
type Answer = { value: number; gradients: Gradients };
type Golden = Answer & { loss: "clip" | "sigmoid"; rows: number; dim: number; scale: number; bias: number };

const FIXTURES = join(import.meta.dirname, "../../fixtures/train");
const PYTHON = process.env["KENPIN_PYTHON"];
const golden = JSON.parse(readFileSync(join(FIXTURES, "losses.json"), "utf8")) as Golden[];
const { tf } = await loadBackend();

for (const [index, one] of golden.entries()) {
  const [image, text] = [unit(`image ${index}`, one.rows, one.dim), unit(`text ${index}`, one.rows, one.dim)];
  const what = `${one.loss} loss of ${one.rows} pairs at scale ${one.scale.toFixed(1)}`;

  test(`${what}: value and gradients as open_clip has them`, () => {
    same(whole(one, image, text), one, 2e-6);
  });

  test(`${what}: the same in tiles of any size`, () => {
    for (const [rows, columns] of [[1, 1], [2, 3], [5, 4], [100, 100]] as const) // biome-ignore format: pairs
      same(inTiles(one, image, text, { rows, columns, relations: pairRelations(tf) }), one, 2e-6);
  });
}

test("open_clip, asked now, answers as the golden file says", { skip: PYTHON ? false : "KENPIN_PYTHON names no interpreter" }, () => {
  const { status, stdout, stderr } = spawnSync(PYTHON as string, [join(FIXTURES, "make_losses.py"), "--stdout"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  for (const [i, one] of (JSON.parse(stdout) as Golden[]).entries()) same(one, golden[i] as Golden, 1e-10);
});

for (const kind of ["clip", "sigmoid"] as const) {
  test(`${kind} loss with captions that several pictures share, and pairs that are blocked: gradients as central differences`, () => {
    const { image, text, positive, blocked, settings } = shared(kind);
    const value = (i: Rows, t: Rows, scale: number, bias: number) => reference(kind, i, t, { scale, bias, positive, blocked });
    const expected: Answer = {
      value: value(image, text, settings.scale, settings.bias),
      gradients: {
        image: slopes(image, (rows) => value(rows, text, settings.scale, settings.bias)),
        text: slopes(text, (rows) => value(image, rows, settings.scale, settings.bias)),
        scale: slope(settings.scale, (x) => value(image, text, x, settings.bias)),
        bias: slope(settings.bias, (x) => value(image, text, settings.scale, x)),
      },
    };
    same(whole({ loss: kind, ...settings }, image, text, { positive, blocked }), expected, 2e-5);
    for (const [rows, columns] of [[1, 2], [3, 2], [9, 9]] as const) // biome-ignore format: pairs
      same(inTiles({ loss: kind, ...settings }, image, text, { rows, columns, relations: cut(positive, blocked) }), expected, 2e-5);
  });
}

test("captions by number: a picture belongs to every text with its number, across tiles", () => {
  const { image, text, positive } = shared("clip");
  const blocked = positive.map((row) => row.map(() => 0));
  const numbers = { images: Int32Array.from(IMAGE_CAPTIONS), texts: Int32Array.from(TEXT_CAPTIONS) };
  for (const kind of ["clip", "sigmoid"] as const) {
    const settings = { loss: kind, scale: 7, bias: kind === "clip" ? 0 : -3 };
    const expected = whole(settings, image, text, { positive, blocked });
    same(inTiles(settings, image, text, { rows: 2, columns: 2, relations: captionRelations(tf, numbers) }), expected, 5e-6);
  }
});

test("the loss in tiles leaves nothing behind", () => {
  for (const kind of ["infonce", "sigmoid"] as const) {
    const image = tf.tensor2d(unit("image", 6, 4)) as Tensor2D;
    const before = tf.memory().numTensors;
    const tiles = [image];
    const bias = kind === "sigmoid" ? -1 : 0;
    const made = lossInTiles(tf, { kind, images: tiles, texts: tiles, relations: pairRelations(tf), scale: 10, bias });
    tf.dispose([made.byImages(0).gradient, made.byTexts(0)]);
    made.dispose();
    assert.equal(tf.memory().numTensors, before);
  }
});

type Settings = { loss: "clip" | "sigmoid"; scale: number; bias: number };

function whole(settings: Settings, image: Rows, text: Rows, related?: { positive: Rows; blocked: Rows }): Answer {
  const relations = related && { positive: tf.tensor2d(related.positive), blocked: tf.tensor2d(related.blocked) };
  const loss = (i: Tensor, t: Tensor, scale: Tensor, bias: Tensor) => {
    if (settings.loss === "sigmoid") return sigmoidLoss(tf, i as Tensor2D, t as Tensor2D, { scale, bias, ...relations });
    // bias is no part of InfoNCE; a zero share of it keeps one signature
    const value = relations
      ? contrastiveLoss(tf, i as Tensor2D, t as Tensor2D, { scale, ...relations })
      : clipLoss(tf, i as Tensor2D, t as Tensor2D, scale);
    return tf.add(value, tf.mul(bias, 0));
  };
  const inputs = [tf.tensor2d(image), tf.tensor2d(text), tf.scalar(settings.scale), tf.scalar(settings.bias)] as Tensor[];
  const { value, grads } = tf.valueAndGrads(loss as (...args: Tensor[]) => Tensor)(inputs);
  const [byImage, byText, byScale, byBias] = grads.map((gradient) => [...gradient.dataSync()]) as [number[], number[], number[], number[]];
  return {
    value: value.dataSync()[0] as number,
    gradients: { image: byImage, text: byText, scale: byScale[0] as number, bias: byBias[0] as number },
  };
}

function inTiles(settings: Settings, image: Rows, text: Rows, tiles: { rows: number; columns: number; relations: Relations }): Answer {
  const chunks = (rows: Rows, size: number) =>
    Array.from({ length: Math.ceil(rows.length / size) }, (_, i) => tf.tensor2d(rows.slice(i * size, (i + 1) * size)));
  const [images, texts] = [chunks(image, tiles.rows), chunks(text, tiles.columns)];
  const made = lossInTiles(tf, {
    kind: settings.loss === "clip" ? "infonce" : "sigmoid",
    images,
    texts,
    relations: tiles.relations,
    scale: settings.scale,
    bias: settings.bias,
  });
  const byImages = images.map((_, i) => made.byImages(i));
  const flat = (tensors: Tensor2D[]) => tensors.flatMap((tensor) => [...tensor.dataSync()]);
  const byText = flat(texts.map((_, j) => made.byTexts(j)));
  const scale = byImages.reduce((sum, one) => sum + one.scale, 0);
  return { value: made.loss, gradients: { image: flat(byImages.map(({ gradient }) => gradient)), text: byText, scale, bias: made.bias } };
}

/** The losses in float64, row by row, from their definitions. */
function reference(
  kind: Settings["loss"],
  image: Rows,
  text: Rows,
  { scale, bias, positive, blocked }: { scale: number; bias: number; positive: Rows; blocked: Rows },
): number {
  const logits = image.map((a) => text.map((b) => scale * a.reduce((sum, v, k) => sum + v * (b[k] as number), 0) + bias));
  if (kind === "sigmoid") {
    let sum = 0;
    for (const [i, row] of logits.entries())
      for (const [j, z] of row.entries()) if (!blocked[i]?.[j]) sum += Math.log1p(Math.exp(positive[i]?.[j] ? -z : z));
    return sum / image.length;
  }
  const oneWay = (scores: Rows, targets: Rows, left: Rows) => {
    let sum = 0;
    for (const [i, row] of scores.entries()) {
      const open = row.map((z, j) => (left[i]?.[j] ? 0 : Math.exp(z)));
      const lse = Math.log(open.reduce((a, b) => a + b, 0));
      const chosen = row.filter((_, j) => targets[i]?.[j]);
      for (const z of chosen) sum += (lse - z) / chosen.length;
    }
    return sum / scores.length;
  };
  const turned = (rows: Rows) => (rows[0] as number[]).map((_, j) => rows.map((row) => row[j] as number));
  return (oneWay(logits, positive, blocked) + oneWay(turned(logits), turned(positive), turned(blocked))) / 2;
}

/** Five pictures, four texts; the last text is of no picture, the fourth picture has no text, and caption 7 stands twice. */
const IMAGE_CAPTIONS = [7, 8, 7, 9, 8];
const TEXT_CAPTIONS = [7, 8, 7, 5];

function shared(kind: Settings["loss"]) {
  const [image, text] = [unit("shared image", IMAGE_CAPTIONS.length, 6), unit("shared text", TEXT_CAPTIONS.length, 6)];
  const positive = IMAGE_CAPTIONS.map((a) => TEXT_CAPTIONS.map((b) => Number(a === b)));
  const blocked = positive.map((row, i) => row.map((one, j) => Number(!one && (i * 3 + j) % 5 === 0)));
  return { image, text, positive, blocked, settings: { scale: 5, bias: kind === "clip" ? 0 : -2 } };
}

function cut(positive: Rows, blocked: Rows): Relations {
  return (rows, columns) => {
    const part = (all: Rows) => tf.tensor2d(all.slice(rows.from, rows.to).map((row) => row.slice(columns.from, columns.to)));
    return { positive: part(positive), blocked: part(blocked) };
  };
}

function slopes(rows: Rows, value: (rows: Rows) => number): number[] {
  return rows.flatMap((row, r) => row.map((x, c) => slope(x, (v) => value(rows.map((line, i) => (i === r ? line.with(c, v) : line))))));
}

function slope(x: number, value: (x: number) => number): number {
  const h = 1e-5;
  return (value(x + h) - value(x - h)) / (2 * h);
}

/** Relative distance of the values, and of each gradient as a vector. */
function same(actual: Answer, expected: Answer, limit: number): void {
  const vectors = (answer: Answer) => ({
    value: [answer.value],
    image: answer.gradients.image,
    text: answer.gradients.text,
    scale: [answer.gradients.scale],
    bias: [answer.gradients.bias],
  });
  const [ours, theirs] = [vectors(actual), vectors(expected)];
  for (const key of ["value", "image", "text", "scale", "bias"] as const) {
    assert.equal(ours[key].length, theirs[key].length);
    const off = Math.hypot(...theirs[key].map((v, i) => v - (ours[key][i] as number)));
    // the floor is for what is zero in truth: a batch of one, InfoNCE's bias
    assert.ok(off <= limit * Math.max(Math.hypot(...theirs[key]), 1e-2), `${key} is off by ${off}: ${ours[key]}, expected ${theirs[key]}`);
  }
}

/** Seeded rows of length 1, in numbers that float32 holds exactly. */
function unit(name: string, rows: number, dim: number): Rows {
  const values = draw(name, rows * dim);
  return Array.from({ length: rows }, (_, r) => {
    const row = [...values.subarray(r * dim, (r + 1) * dim)];
    const length = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0));
    return row.map((v) => Math.fround(v / length));
  });
}
