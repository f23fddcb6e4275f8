/**
 * `kenpin quantize` on the trained base model, as a user types it: the map stays alive, the file is a quarter, outliers do
 * no harm, and what is wrong with a calibration folder is said. Emulating a processor without VNNI needs qemu-x86_64.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { visionModel } from "@kenpin/onnx";
import { judgingInputs } from "../../../cloud-trainer/src/judging-inputs.ts";
import { type QuantizeOptions, quantizeModel } from "../../../cloud-trainer/src/quantize/quantize-model.ts";
import type { QuantizationReport } from "../../../cloud-trainer/src/quantize/report.ts";
import { readWeightsFolder } from "../../../cloud-trainer/src/weights-folder.ts";
import { inFolder, runKenpin } from "../import/seeded-checkpoint.ts";
import { BASE, writeOutlierBase, writePictures } from "./pictures.ts";

const EMULATOR = ["qemu-x86_64", "qemu-x86_64-static"].find((name) => spawnSync(name, ["--version"]).status === 0);
const noEmulator = EMULATOR ? false : "qemu-x86_64 is not installed";
const EXAMPLES = join(import.meta.dirname, "../../../examples/textile");

async function quantize(model: string, out: string, ...more: string[]): Promise<QuantizationReport> {
  const { code, stdout, stderr } = await runKenpin(["quantize", model, "--out", out, "--json", ...more]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as QuantizationReport;
}

type Changes = Pick<QuantizeOptions, "scheme" | "calibration"> & Partial<QuantizeOptions> & { judged?: number };

/** The image tower alone, without a command around it. */
function quantizeVision(model: string, out: string, { judged = 16, ...changes }: Changes): Promise<QuantizationReport> {
  return quantizeModel({
    model,
    out,
    towers: ["vision"],
    weights: { type: "int8", bits: 8 },
    images: 64,
    budget: { evaluations: 0, target: 0.997, sizeRatio: 0.3 },
    ...judgingInputs(judged),
    onProgress: () => {},
    ...changes,
  });
}

for (const scheme of ["int8-static", "int8-dynamic"]) {
  test(`the base model in ${scheme} keeps its answers and its map, and is about a quarter of its size`, async () => {
    await inFolder(async (dir) => {
      const pictures = await writePictures(join(dir, "pictures"), 48);
      const out = join(dir, "out");
      const { vision, text, shortfalls } = await quantize(BASE, out, "--scheme", scheme, "--calibration", pictures, "--judged", "240");
      const { image, pixel } = vision.auroc;
      assert.ok(pixel && pixel.before >= 0.85, `the float model's own map: ${pixel?.before}`);
      assert.ok(pixel.before - pixel.after <= 0.005, `pixel AUROC ${pixel.before} → ${pixel.after}`);
      assert.ok(image.before - image.after <= 0.003, `image AUROC ${image.before} → ${image.after}`);
      for (const value of [vision.cosine.imageMean, vision.cosine.patchMean, vision.cosineGenerated.imageMean, text?.cosine.mean])
        assert.ok((value as number) >= 0.997, `cosine ${value}`);
      assert.ok(vision.ranks.scores >= 0.99, `rank correlation ${vision.ranks.scores}`);
      for (const tower of [vision, text]) assert.ok((tower?.bytes.ratio as number) <= 0.27, `${tower?.bytes.ratio} of the float size`);
      assert.equal((await stat(join(out, "vision.onnx"))).size, vision.bytes.after);
      assert.deepEqual([vision.inFloat, shortfalls], [[], []]);
      assert.equal(vision.layers.length, 18);
      assert.ok(
        vision.layers.every(({ error }) => error > 0 && error < 0.2) || vision.layers[0]?.error === 0,
        JSON.stringify(vision.layers),
      );
      assert.deepEqual(JSON.parse(await readFile(join(out, "quantization.json"), "utf8")).vision.cosine, vision.cosine);
      assert.deepEqual((await readdir(dir)).sort(), ["out", "pictures"]);
    });
  });
}

test("real pictures that the ranges were taken from half of: the other half's embeddings stay within 0.997", async () => {
  await inFolder(async (dir) => {
    const { vision } = await quantizeVision(BASE, join(dir, "out"), { scheme: "int8-static", calibration: EXAMPLES, images: 32 });
    assert.ok(vision.cosine.imageMean >= 0.997 && (vision.cosine.patchMean as number) >= 0.997, JSON.stringify(vision.cosine));
  });
});

test("TensorRT's graph and half precision keep the answers too", async () => {
  await inFolder(async (dir) => {
    const pictures = await writePictures(join(dir, "pictures"), 24);
    const paired = await quantizeVision(BASE, join(dir, "qdq"), { scheme: "qdq", calibration: pictures });
    assert.ok(paired.vision.cosine.imageMean >= 0.997, JSON.stringify(paired.vision.cosine));
    const halves = await quantizeVision(BASE, join(dir, "fp16"), { scheme: "fp16", calibration: null });
    assert.ok(halves.vision.cosine.imageLeast >= 0.9999, JSON.stringify(halves.vision.cosine));
    assert.ok(halves.vision.bytes.ratio < 0.55, `${halves.vision.bytes.ratio}`);
  });
});

test("channels 64 times as large as the others cost nothing, also on a processor without VNNI", { skip: noEmulator }, async () => {
  await inFolder(async (dir) => {
    const pictures = await writePictures(join(dir, "pictures"), 24);
    const model = await writeOutlierBase(join(dir, "model"));
    const asked = { scheme: "int8-static", calibration: pictures } as const;
    const eight = await quantizeVision(model, join(dir, "eight"), asked);
    const seven = await quantizeVision(model, join(dir, "seven"), { ...asked, weights: { type: "int8", bits: 7 } });
    for (const { vision } of [eight, seven]) {
      assert.ok(vision.cosine.imageMean >= 0.997, JSON.stringify(vision.cosine));
      const plain = vision.tried.find(({ alpha }) => alpha === 0);
      assert.ok((plain?.fidelity as number) < 0.9, `without smoothing ${plain?.fidelity}: these weights have no outliers`);
    }
    const { config, tensors } = await readWeightsFolder(model);
    await writeFile(join(dir, "float.onnx"), visionModel({ config }).encode(tensors));
    const [native, emulated] = [embedAll(dir, pictures, ["float", "seven"]), embedAll(dir, pictures, ["seven", "eight"], EMULATOR)];
    const cosines = native["float"]?.map((row, i) => dot(row, emulated["seven"]?.[i] as number[])) as number[];
    assert.ok(Math.min(...cosines) >= 0.997, `seven bits without VNNI: ${cosines}`);
    const saturated = native["float"]?.map((row, i) => dot(row, emulated["eight"]?.[i] as number[])) as number[];
    assert.ok(Math.min(...saturated) < Math.min(...cosines), "eight bits saturate there, or this emulator shows nothing");
  });
});

test("a search within a stated budget keeps the places in float that cost most, and no more bytes than allowed", async () => {
  await inFolder(async (dir) => {
    const pictures = await writePictures(join(dir, "pictures"), 16);
    const budget = { evaluations: 6, target: 1, sizeRatio: 0.3 };
    const { vision } = await quantizeVision(BASE, join(dir, "out"), { scheme: "int8-static", calibration: pictures, budget });
    const searched = vision.tried.filter(({ inFloat }) => inFloat.length > 0);
    assert.ok(searched.length > 0 && searched.length <= 6, `${searched.length} graphs tried`);
    assert.ok(vision.bytes.ratio <= 0.3, `${vision.bytes.ratio} of the float size`);
    assert.equal(vision.layers.filter(({ inFloat }) => inFloat).length, vision.inFloat.length);
    const whole = vision.tried.filter(({ inFloat }) => inFloat.length === 0).map(({ fidelity }) => fidelity);
    const chosen = vision.tried.map(({ fidelity }) => fidelity);
    assert.ok(Math.max(...chosen) >= Math.max(...whole));
  });
});

test("a calibration folder with nothing, with nothing readable, with three pictures or a broken one: each is said in a line", async () => {
  await inFolder(async (dir) => {
    const [empty, broken] = [join(dir, "empty"), join(dir, "broken")];
    await mkdir(empty);
    await mkdir(broken);
    await writeFile(join(broken, "a.png"), "no picture");
    const run = (folder: string[], out: string) =>
      runKenpin(["quantize", BASE, "--scheme", "int8-dynamic", ...folder, "--out", join(dir, out), "--judged", "4", "--search", "0"]);
    const refused: [string[], RegExp][] = [
      [["--calibration", empty], /^kenpin: .*empty holds no pictures .*calibration-empty/],
      [["--calibration", broken], /^kenpin: none of the 1 pictures in .* can be read; a\.png: .*calibration-unreadable/],
      [["--calibration", join(dir, "nowhere")], /^kenpin: .*nowhere cannot be opened \(ENOENT\)/],
      [[], /^kenpin: int8-dynamic takes its ranges from pictures: name a folder .* --calibration/],
    ];
    for (const [args, expected] of refused) {
      const { code, stdout, stderr } = await run(args, "out");
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, expected);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
    }
    await writePictures(join(dir, "three"), 3);
    await writeFile(join(dir, "three", "torn.png"), "no picture");
    const few = await run(["--calibration", join(dir, "three")], "few");
    assert.equal(few.code, 0, few.stderr);
    assert.match(few.stderr, /warning: 3 pictures are few to calibrate on/);
    assert.match(few.stderr, /warning: 1 of 4 pictures left out, they cannot be read: torn\.png \(torn\.png: /);
    assert.deepEqual((await readdir(dir)).sort(), ["broken", "empty", "few", "three"]);
  });
});

/** Rows of image embeddings by a process of its own, under the emulator's Haswell where one is named. */
function embedAll(dir: string, pictures: string, models: string[], emulator?: string): Record<string, number[][]> {
  const script = join(import.meta.dirname, "embed-pictures.ts");
  const files = models.map((name) => (name === "float" ? join(dir, "float.onnx") : join(dir, name, "vision.onnx")));
  const node = [process.execPath, "--conditions=kenpin-source", "--disable-warning=ExperimentalWarning", script, pictures, ...files];
  const [program, ...args] = emulator ? [emulator, "-cpu", "Haswell", ...node] : node;
  const ran = spawnSync(program as string, args, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  assert.equal(ran.status, 0, ran.stderr);
  const rows = JSON.parse(ran.stdout) as number[][][];
  return Object.fromEntries(models.map((name, i) => [name, rows[i] as number[][]]));
}

function dot(a: number[], b: number[]): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
}
