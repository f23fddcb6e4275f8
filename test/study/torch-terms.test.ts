/** What the study needs of the engine torch on surfaces drawn on the device: HOG targets, trust by group, patch dropout with a tail. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { modelConfig } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import { z } from "zod";
import { captionFile } from "../../cloud-trainer/src/samples/caption-file.ts";
import { targetsOf } from "../../cloud-trainer/src/samples/masked-batch.ts";
import { PACKAGE_DIR } from "../../cloud-trainer/src/train/engines/torch/python.ts";
import { python, skip } from "../cloud-trainer/train/torch-python.ts";

const Rows = z.array(z.array(z.number()));
const Dropped = z.strictObject({
  kept: z.array(z.int()).nullable(),
  targets: z.array(z.int()),
  weights: z.array(z.int()),
  increasing: z.boolean(),
});
const Masked = z.strictObject({ masked: z.array(z.number()), pictures: z.int(), targets: z.array(z.int()).nullable() });
const Terms = z.strictObject({
  roles: z.int(),
  hog: z.array(z.number()),
  tensor: Rows,
  group: Rows,
  dropped: Dropped,
  tail: Dropped,
  hogBatch: Masked,
  clipBatch: Masked,
  shared: z.number(),
});

const config = modelConfig("kenpin-s-8");
const dir = mkdtempSync(join(tmpdir(), "kenpin-terms-"));
after(() => rmSync(dir, { recursive: true, force: true }));
const { normal } = createRandom(3);
const pixels = Float32Array.from({ length: 2 * 3 * 80 * 80 }, normal);
let terms: z.infer<typeof Terms>;

before(() => {
  if (skip) return;
  const [captions, file] = [join(dir, "captions.json"), join(dir, "pixels.f32")];
  writeFileSync(captions, captionFile(config));
  writeFileSync(file, pixels);
  const env = { ...process.env, PYTHONPATH: PACKAGE_DIR };
  const printed = execFileSync(python, [join(import.meta.dirname, "torch_terms.py"), captions, file], {
    env,
    maxBuffer: 2 ** 26,
    encoding: "utf8",
  });
  terms = Terms.parse(JSON.parse(printed.trim().split("\n").at(-1) as string));
});

test("histograms of oriented gradients made on the device are those made here", { skip }, () => {
  const own = targetsOf(pixels, config, "hog");
  assert.equal(terms.hog.length, own.length);
  const apart = own.map((value, i) => Math.abs(value - (terms.hog[i] as number)));
  assert.ok(Math.max(...apart) < 1e-4, String(Math.max(...apart)));
});

test("trust in a group: one ratio over all matrices of the same rate and decay, on either engine the one worked out by hand", {
  skip,
}, () => {
  // The first step: u = sign(g) + λ·w. u of a: (1 + 1.5, 1), of b: (1, 1 + 2), of c: (1 + 3, 1 + 4); d has no decay and no ratio.
  const [a, b, c] = [Math.hypot(2.5, 1), Math.hypot(1, 3), Math.hypot(4, 5)];
  const moved = (ra: number, rb: number, rc: number) => [
    [3 - 0.1 * ra * 2.5, -0.1 * ra],
    [-0.1 * rb, 4 - 0.1 * rb * 3],
    [6 - 0.1 * rc * 4, 8 - 0.1 * rc * 5],
    [1.9],
  ];
  near(terms.tensor, moved(3 / a, 4 / b, 10 / c));
  const shared = 5 / Math.hypot(a, b);
  near(terms.group, moved(shared, shared, 10 / c));
});

test("surfaces drawn on the device lose half of their patches, and none in the tail", { skip }, () => {
  assert.deepEqual(terms.dropped, { kept: [40, 8], targets: [40, 8], weights: [40, 8], increasing: true });
  assert.deepEqual(terms.tail, { kept: null, targets: [40, 16], weights: [40, 16], increasing: true });
});

test("masked image modelling takes surfaces drawn on the device, with gradients to predict or without", { skip }, () => {
  assert.deepEqual(terms.hogBatch, { masked: [7], pictures: 40, targets: [40, 16, 27] });
  assert.deepEqual(terms.clipBatch, { masked: [7], pictures: 40, targets: null });
});

function near(got: number[][], wanted: number[][]): void {
  for (const [i, row] of wanted.entries())
    for (const [j, value] of row.entries())
      assert.ok(Math.abs((got[i]?.[j] as number) - value) < 1e-5, `${i}, ${j}: ${got[i]?.[j]} for ${value}`);
}

test("two processes share a batch that the device drew as one would see it, and divide by the same judged patches", { skip }, () => {
  assert.equal(terms.shared, 0);
});
