/**
 * The generator that draws on a GPU makes what src/samples/ makes: by family mean, deviation and spectrum (as correlations of pixels
 * 1, 4 and 12 apart), by flaw area and contrast. The random numbers differ, so means are compared: they may lie apart by 4.5 standard
 * errors of the two samples and 0.02, which one comparison in some 100,000 would miss by chance.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { modelConfig } from "@kenpin/clip";
import { createRandom, deviation, mean } from "@kenpin/stats";
import { z } from "zod";
import { FLAWS } from "../../../cloud-trainer/src/samples/caption.ts";
import { captionFile } from "../../../cloud-trainer/src/samples/caption-file.ts";
import { drawSurface, type Surface } from "../../../cloud-trainer/src/samples/generate.ts";
import { MATERIALS } from "../../../cloud-trainer/src/samples/surface.ts";
import { python, skip } from "../train/torch-python.ts";

const [SIDE, EPISODES, EACH, ERRORS, SLACK] = [48, 20, 60, 4.5, 0.02];
const Rows = z.record(z.string(), z.array(z.array(z.number())));
const Statistics = z.strictObject({ families: Rows, flaws: Rows, bad: z.number() });

const dir = mkdtempSync(join(tmpdir(), "kenpin-generator-"));
after(() => rmSync(dir, { recursive: true, force: true }));

test("captions are written with numbers that say what each claims, and tokens that end", () => {
  const file = JSON.parse(captionFile(modelConfig("kenpin-s-8"))) as { materials: string[]; defects: string[]; captions: Row[] };
  assert.deepEqual(
    file.materials,
    MATERIALS.map(({ name }) => name),
  );
  assert.deepEqual(
    file.defects,
    FLAWS.map(({ name }) => name),
  );
  const one = file.captions.find(({ text }) => text === "a photo of cloth with a scratch") as Row;
  assert.deepEqual([one.material, one.state, one.defect, one.lacks], [0, 1, 0, -1]);
  assert.ok(one.weight > 0 && one.ids.length > 4 && one.ids.every((id) => id > 0));
});
type Row = { text: string; ids: number[]; material: number; state: number; defect: number; lacks: number; weight: number };

test("surfaces drawn by torch are like those drawn here", { skip }, () => {
  const captions = join(dir, "captions.json");
  writeFileSync(captions, captionFile(modelConfig("kenpin-s-8")));
  const script = join(import.meta.dirname, "../../fixtures/train/generator_statistics.py");
  const printed = execFileSync(python, [script, captions, String(SIDE), String(EPISODES)], {
    maxBuffer: 2 ** 26,
    encoding: "utf8",
  });
  const torch = Statistics.parse(JSON.parse(printed));
  const random = createRandom(17);
  const far: string[] = [];
  for (const material of MATERIALS) {
    const own = Array.from({ length: EACH }, () => numbersOf(drawSurface(random, SIDE, { material, bad: false })));
    far.push(...compared(material.name, ["mean", "deviation", "1 apart", "4 apart", "12 apart"], own, torch.families[material.name] ?? []));
  }
  const flawed = new Map<string, number[][]>(FLAWS.map(({ name }) => [name, []]));
  for (let i = 0; i < 4000; i++) {
    const surface = drawSurface(random, SIDE, { bad: true });
    if (surface.defect) flawed.get(surface.defect.name)?.push(flawNumbers(surface));
  }
  for (const [name, own] of flawed) far.push(...compared(name, ["area", "contrast"], own, torch.flaws[name] ?? []));
  assert.deepEqual(far, []);
});

function compared(name: string, what: string[], a: number[][], b: number[][]): string[] {
  if (a.length < 5 || b.length < 5) return [`${name}: only ${a.length} and ${b.length} pictures`];
  return what.flatMap((number, i) => {
    const [x, y] = [a, b].map((rows) => rows.map((row) => row[i] as number)) as [number[], number[]];
    const error = Math.hypot(deviation(x) / Math.sqrt(x.length), deviation(y) / Math.sqrt(y.length));
    const apart = Math.abs(mean(x) - mean(y));
    return apart > ERRORS * error + SLACK ? [`${name}: ${number} ${mean(x).toFixed(4)} here, ${mean(y).toFixed(4)} by torch`] : [];
  });
}

function greyOf({ planes: { rgb } }: Surface): Float64Array {
  return Float64Array.from(rgb[0], (value, i) => (value + (rgb[1][i] as number) + (rgb[2][i] as number)) / 3);
}

function numbersOf(surface: Surface): number[] {
  const grey = greyOf(surface);
  const middle = mean([...grey]);
  const centred = grey.map((value) => value - middle);
  const power = mean([...centred].map((value) => value * value)) + 1e-6;
  const apart = [1, 4, 12].map((d) => {
    const products = [...centred].flatMap((value, i) => (i % SIDE < SIDE - d ? [value * (centred[i + d] as number)] : []));
    return mean(products) / power;
  });
  return [middle, Math.sqrt(power), ...apart];
}

function flawNumbers(surface: Surface): number[] {
  const grey = greyOf(surface);
  let [area, inside, outside] = [0, 0, 0];
  for (const [i, weight] of surface.mask.entries()) {
    area += weight;
    inside += weight * (grey[i] as number);
    outside += (1 - weight) * (grey[i] as number);
  }
  const rest = Math.max(1e-6, surface.mask.length - area);
  return [area / surface.mask.length, Math.abs(inside / Math.max(1e-6, area) - outside / rest)];
}
