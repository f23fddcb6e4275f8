/** Generated surfaces: the same seed draws the same, a mask says where the picture changed, a caption says what is true. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createTokenizer, modelConfig } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import sharp from "sharp";
import { captionRelations, picturesOf, type Stored, surfacePool } from "../../../cloud-trainer/src/samples/batch.ts";
import { DEFECTS, isVisible, paintDefect, type Planes } from "../../../cloud-trainer/src/samples/defect.ts";
import { type Caption, captionOf, captionTable, FLAWS, isTrueOf } from "../../../cloud-trainer/src/samples/caption.ts";
import { drawSurface, surfaceStream } from "../../../cloud-trainer/src/samples/generate.ts";
import { surfaceSheet } from "../../../cloud-trainer/src/samples/surface-sheet.ts";
import { MATERIALS } from "../../../cloud-trainer/src/samples/surface.ts";

const SIDE = 80;
const config = modelConfig("kenpin-s-8");
const pool = surfacePool(3, SIDE, 60, () => undefined);

test("the same seed draws the same bytes, another seed others", () => {
  assert.deepEqual(
    surfacePool(3, SIDE, 6, () => undefined),
    pool.slice(0, 6),
  );
  const other = surfacePool(4, SIDE, 6, () => undefined);
  for (const [i, { rgb }] of other.entries()) assert.notDeepEqual(rgb, pool[i]?.rgb);
});

test("every material and every defect comes, and about half of the surfaces are defective", () => {
  const next = surfaceStream(5, 48);
  const surfaces = Array.from({ length: 2400 }, next);
  assert.deepEqual(new Set(surfaces.map(({ material }) => material.name)), new Set(MATERIALS.map(({ name }) => name)));
  const defects = surfaces.flatMap(({ defect }) => (defect ? [defect.name] : []));
  assert.deepEqual(new Set(defects), new Set(FLAWS.map(({ name }) => name)));
  assert.ok(defects.length > 900 && defects.length < 1500, `${defects.length} of 2400`);
});

test("levels stay in [0, 1], a good surface has an empty mask, a bad one has not", () => {
  for (const bad of [true, false]) {
    for (const material of MATERIALS) {
      const { planes, mask, defect } = drawSurface(createRandom(9), SIDE, { bad, material });
      for (const plane of planes.rgb)
        assert.ok(
          plane.every((value) => value >= 0 && value <= 1),
          material.name,
        );
      assert.ok(mask.every((value) => value >= 0 && value <= 1));
      assert.equal(
        mask.some((value) => value > 0),
        defect !== null,
        material.name,
      );
      if (!bad) assert.equal(defect, null);
    }
  }
});

for (const defect of DEFECTS) {
  test(`a ${defect.name} changes pixels where its mask is and nowhere else`, () => {
    let seen = 0;
    for (let seed = 0; seed < 30; seed++) {
      const random = createRandom(100 + seed);
      const { planes: before } = drawSurface(random, SIDE, { bad: false });
      const { planes: other } = drawSurface(random, SIDE, { bad: false });
      const { planes: after, mask } = paintDefect(before, random, other, defect);
      const moved = changeAt(before, after);
      for (let i = 0; i < mask.length; i++) if (mask[i] === 0) assert.equal(moved[i], 0);
      if (!isVisible(before, after, mask)) continue;
      seen++;
      const inside =
        mask.reduce((sum, weight, i) => sum + weight * (moved[i] as number), 0) / mask.reduce((sum, weight) => sum + weight, 0);
      assert.ok(inside > 0.02, `the change within the mask is ${inside}`);
    }
    assert.ok(seen >= 6, `only ${seen} of 30 can be seen`);
  });
}

test("a defect that changed nothing is none", () => {
  const { planes } = drawSurface(createRandom(1), SIDE, { bad: false });
  const mask = new Float32Array(SIDE * SIDE).fill(1);
  assert.equal(isVisible(planes, planes, mask), false);
  const brighter: Planes = { side: SIDE, rgb: planes.rgb.map((plane) => plane.map((v) => v + 0.5)) as Planes["rgb"] };
  assert.equal(isVisible(planes, brighter, mask), true);
  assert.equal(isVisible(planes, brighter, new Float32Array(SIDE * SIDE).fill(0.001)), false, "a mask of six pixels in all");
});

test("a surface's own caption is true of it, and never says good of bad", () => {
  const random = createRandom(11);
  const words = {
    good: /flawless|perfect|\beven |undamaged|clean|intact|normal|without (defects|damage)|good condition/,
    bad: /with a|defective|faulty|flawed|(?<!un)damaged|with damage/,
  };
  let stated = 0;
  for (const surface of pool) {
    for (let i = 0; i < 20; i++) {
      const caption = captionOf(surface, random);
      assert.ok(isTrueOf(caption, surface), caption.text);
      if (caption.defect !== null)
        assert.ok(
          [...(surface.defect?.words ?? []), ...(surface.defect?.adjectives ?? [])].some((word) => caption.text.includes(word)),
          caption.text,
        );
      else if (caption.state !== null) assert.match(caption.text, words[surface.defect ? "bad" : "good"]);
      if (caption.state === "good") assert.doesNotMatch(caption.text, words.bad);
      if (caption.material !== null)
        assert.ok(
          surface.material.words.some((word) => caption.text.includes(word.replace(/^an? /, ""))),
          caption.text,
        );
      stated += Number(caption.state !== null);
    }
  }
  assert.ok(stated > pool.length * 20 * 0.85);
});

test("a caption is false of another material, another state, and another defect, as far as it speaks of them", () => {
  const [woven, wood] = [MATERIALS.find(({ name }) => name === "woven"), MATERIALS.find(({ name }) => name === "wood")] as [
    Stored["material"],
    Stored["material"],
  ];
  const [scratch, hole] = FLAWS as [Stored["defect"], Stored["defect"]];
  const says = (material: string | null, state: Caption["state"], defect: string | null, lacks: string | null = null) => ({
    text: "",
    material,
    state,
    defect,
    lacks,
  });
  const truths: [Caption, Pick<Stored, "material" | "defect">, boolean][] = [
    [says("woven", "bad", "scratch"), { material: woven, defect: scratch }, true],
    [says("woven", "bad", "scratch"), { material: woven, defect: hole }, false],
    [says("woven", "bad", null), { material: woven, defect: hole }, true],
    [says("woven", "bad", null), { material: woven, defect: null }, false],
    [says("woven", "good", null), { material: woven, defect: null }, true],
    [says("woven", "good", null), { material: wood, defect: null }, false],
    [says(null, "good", null), { material: wood, defect: null }, true],
    [says("wood", null, null), { material: wood, defect: hole }, true],
    [says(null, null, null, "hole"), { material: wood, defect: scratch }, true],
    [says(null, null, null, "hole"), { material: wood, defect: hole }, false],
    [says(null, null, null, "hole"), { material: wood, defect: null }, true],
  ];
  for (const [caption, surface, expected] of truths) assert.equal(isTrueOf(caption, surface), expected, JSON.stringify(caption));
});

test("in a batch every picture has its own caption, captions are distinct, and what else is true is set aside", () => {
  const { captions, positive, blocked } = captionRelations(pool, createRandom(13));
  assert.equal(new Set(captions).size, captions.length);
  assert.equal(positive.length, pool.length * captions.length);
  const own = Array.from({ length: pool.length }, (_, i) => positive.subarray(i * captions.length, (i + 1) * captions.length));
  for (const row of own)
    assert.equal(
      row.reduce((sum, value) => sum + value, 0),
      1,
    );
  assert.ok(positive.every((value, i) => value * (blocked[i] as number) === 0));
  assert.ok(blocked.some((value) => value === 1));
});

test("what is said of a good surface is a negative for a defective one, unless it says nothing of its state", () => {
  const surfaces = [surfaceOf("woven", null), surfaceOf("woven", "hole")];
  let [negatives, setAside] = [0, 0];
  for (let seed = 0; seed < 400; seed++) {
    const { captions, positive, blocked } = captionRelations(surfaces, createRandom(seed));
    const own = positive.indexOf(1); // the good one's caption, for it is the first row
    if (positive[captions.length + own] === 1) continue; // both got the same
    const speaks = captionTable().find(({ caption }) => caption.text === captions[own])?.caption;
    const isFalse = speaks?.state === "good" || speaks?.lacks === "hole";
    assert.equal(blocked[captions.length + own], Number(!isFalse), captions[own]);
    negatives += Number(isFalse);
    setAside += Number(!isFalse);
  }
  assert.ok(negatives > 300 && setAside > 10, `${negatives} negatives, ${setAside} set aside`);
});

test("patch targets follow the mask through every turn, doubtful patches weigh nothing, defective ones more", () => {
  const { size, patch } = config.image;
  const grid = size / patch;
  const mask = new Uint8Array(size * size);
  for (let y = 0; y < patch; y++) for (let x = 0; x < patch; x++) mask[y * size + x] = 255; // the first patch, whole
  for (let y = 0; y < patch; y++) mask[y * size + patch] = 255; // an eighth of the second
  const rgb = Uint8Array.from({ length: 3 * size * size }, (_, p) => mask[p % (size * size)] as number);
  const upright = picturesOf([{ rgb, mask }], config, createRandom(1), { upright: 1 });
  assert.deepEqual([...upright.patchTargets.subarray(0, 3)], [1, 0, 0]);
  assert.deepEqual([...upright.patchWeights.subarray(0, 3)], [4, 0, 1]);
  const turned = new Set<number>();
  const { pixelValues, patchTargets } = picturesOf(new Array(64).fill({ rgb, mask }), config, createRandom(2));
  for (let i = 0; i < 64; i++) {
    const at = patchTargets.subarray(i * grid * grid, (i + 1) * grid * grid).indexOf(1);
    turned.add(at);
    // the picture shows the mask: the patch said to be defective is the bright one
    const pixel = i * 3 * size * size + (Math.floor(at / grid) * patch + 3) * size + (at % grid) * patch + 3;
    near(pixelValues[pixel] as number, (1 - config.preprocess.mean[0]) / config.preprocess.std[0]);
  }
  assert.deepEqual(turned, new Set([0, grid - 1, grid * (grid - 1), grid * grid - 1]), "each corner of the picture");
});

test("captions are distinct, and short enough for the base model's text tower", () => {
  const { encode } = createTokenizer(config.text);
  const texts = captionTable().map(({ caption }) => caption.text);
  assert.equal(new Set(texts).size, texts.length);
  assert.deepEqual(
    texts.filter((text) => encode(text).at(-1) !== 0),
    [],
  );
});

test("a sheet shows a row of every family, the same for the same seed", async () => {
  const sheet = await surfaceSheet({ seed: 1, side: 24, columns: 3 });
  const { width, height, format } = await sharp(sheet).metadata();
  assert.equal(format, "png");
  assert.ok(height > MATERIALS.length * 48 && width > 3 * 48, `${width} × ${height}`);
  assert.deepEqual(await surfaceSheet({ seed: 1, side: 24, columns: 3 }), sheet);
  assert.notDeepEqual(await surfaceSheet({ seed: 2, side: 24, columns: 3 }), sheet);
});

test("families that resemble a real set are marked", () => {
  const marked = MATERIALS.flatMap(({ name, lookAlikeOf }) => (lookAlikeOf === undefined ? [] : [`${name} ~ ${lookAlikeOf}`]));
  assert.deepEqual(marked, ["woven ~ textile", "random field ~ textile", "grain map ~ microstructure", "beads ~ extrusion"]);
});

function surfaceOf(material: string, defect: string | null): Stored {
  const found = MATERIALS.find(({ name }) => name === material) as Stored["material"];
  return { rgb: new Uint8Array(), mask: new Uint8Array(), material: found, defect: DEFECTS.find(({ name }) => name === defect) ?? null };
}

/** The largest change of any colour at each pixel. */
function changeAt(before: Planes, after: Planes): Float64Array {
  return Float64Array.from({ length: before.side ** 2 }, (_, i) =>
    Math.max(...before.rgb.map((plane, c) => Math.abs((plane[i] as number) - ((after.rgb[c] as Float32Array)[i] as number)))),
  );
}

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-5, `${actual}, expected ${expected}`);
}
