/**
 * `npm run bench:int8`: EVA02-B-16's image tower in 8 bits by torch.onnx.export + quantize_dynamic and by `kenpin quantize`,
 * in one onnxruntime, batch 1, two threads, in turns; the same with outlier weights; and the base model a frame. Prints a
 * table, writes int8.json and int8.svg into --out (default: bench-int8); --work DIR keeps the models. Weights are seeded: time does not depend on them.
 */
import { spawnSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bytesSource, decodeImage, encodeSafetensors, modelConfig, readAllTensors, tileFrame } from "@kenpin/clip";
import { startInspector } from "@kenpin/inspector";
import { visionModel } from "@kenpin/onnx";
import { createRandom } from "@kenpin/stats";
import { stageBundle } from "../../cloud-trainer/src/bundle/stage.ts";
import { drawEpisode, goldenPictures } from "../../cloud-trainer/src/samples/pictures.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { withOutliers } from "../onnx/outliers.ts";
import { type Bar, barChart } from "./int8-chart.ts";
import { findPython, type Python } from "./int8-python.ts";

type Measured = { msMedian: number; msLeast: number; bytes: number; cosineMean: number; cosineLeast: number };
type Timed = { onnxruntime: string; models: Record<string, Measured> };

const MODEL = "EVA02-B-16";
const ROOT = join(import.meta.dirname, "../..");
const SCRIPT = join(import.meta.dirname, "int8_routes.py");
const SCHEMES = ["int8-dynamic", "int8-static"] as const;
const LABELS: Record<string, string> = {
  std: "torch.onnx, float32",
  float: "kenpin, float32",
  std8: "torch.onnx + quantize_dynamic",
  "int8-dynamic": "kenpin, int8-dynamic",
  "int8-static": "kenpin, int8-static",
};
const { values } = parseArgs({
  options: { work: { type: "string" }, out: { type: "string", default: "bench-int8" }, rounds: { type: "string", default: "20" } },
});

const say = (line: string) => process.stderr.write(`${line}\n`);
const python = findPython(say);
if ("missing" in python) {
  say(`bench:int8 cannot compare with the standard route: ${python.missing}`);
  process.exitCode = 1;
} else await main(python);

async function main(standard: Python): Promise<void> {
  const dir = values.work ?? (await mkdtemp(join(tmpdir(), "kenpin-int8-")));
  try {
    const plain = await compare(standard, dir, "plain", Number(values.rounds));
    const outliers = await compare(standard, dir, "outliers", 0);
    const student = await frameTimes(dir);
    const report = {
      bench: "int8",
      node: process.version,
      cpu: cpus()[0]?.model,
      cores: cpus().length,
      threads: 2,
      ...plain,
      outliers: outliers.models,
      student,
    };
    const out = resolve(ROOT, values.out);
    await mkdir(out, { recursive: true });
    await writeFile(join(out, "int8.json"), `${JSON.stringify(report, null, 2)}\n`);
    await writeFile(join(out, "int8.svg"), chart(plain));
    process.stdout.write(table(plain, outliers, student));
  } finally {
    if (values.work === undefined) await rm(dir, { recursive: true, force: true });
  }
}

/** Both routes from one checkpoint; the pictures that are embedded are none of those that ranges were taken from. */
async function compare(standard: Python, dir: string, kind: "plain" | "outliers", rounds: number): Promise<Timed> {
  const home = join(dir, kind);
  await mkdir(home);
  const checkpoint = join(home, "checkpoint.safetensors");
  const config = modelConfig(MODEL);
  if (kind === "outliers") {
    const tensors = await readAllTensors(bytesSource(await readFile(join(dir, "plain/checkpoint.safetensors"))));
    await writeFile(checkpoint, encodeSafetensors(withOutliers(tensors, config)));
  }
  say(`${kind}: torch.onnx.export and quantize_dynamic`);
  standard.run(SCRIPT, kind === "plain" ? ["export", home] : ["export", home, checkpoint]);
  const side = config.image.size;
  const preprocess = { tilePx: side, overlapPx: 0, maxTiles: 1, ...config.preprocess };
  const pictures = await surfaces(24, side);
  await mkdir(join(home, "pictures"));
  for (const [i, png] of pictures.slice(0, 16).entries()) await writeFile(join(home, "pictures", `${i}.png`), png);
  const held = await Promise.all(pictures.slice(16).map(async (png) => (await tileFrame(await decodeImage(png), preprocess)).pixelValues));
  await writeFile(join(home, "pixels"), Buffer.concat(held.map((data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))));
  const tensors = await readAllTensors(bytesSource(await readFile(checkpoint)));
  await writeFile(join(home, "float.onnx"), visionModel({ config, patchEmbeds: false, flavour: "ort" }).encode(tensors));
  say(`${kind}: kenpin import and quantize`);
  kenpin(["import", checkpoint, "--model", MODEL, "--no-patch-embeds", "--licence", "none: seeded numbers", "--out", join(home, "model")]);
  for (const scheme of SCHEMES) {
    const out = join(home, `folder-${scheme}`);
    kenpin([
      "quantize",
      join(home, "model"),
      "--scheme",
      scheme,
      "--calibration",
      join(home, "pictures"),
      "--judged",
      "4",
      "--search",
      "0",
      "--out",
      out,
    ]);
    await copyFile(join(out, "vision.onnx"), join(home, `${scheme}.onnx`));
  }
  say(`${kind}: timing`);
  const timed = JSON.parse(standard.run(SCRIPT, ["time", home, String(rounds || 1), ...Object.keys(LABELS)])) as Timed;
  return timed;
}

async function surfaces(count: number, sidePx: number): Promise<Uint8Array[]> {
  const random = createRandom(31);
  const pictures: Uint8Array[] = [];
  while (pictures.length < count)
    pictures.push(...(await drawEpisode(random, { sidePx, references: 0, frames: 4 })).frames.map(({ png }) => png));
  return pictures;
}

/** Milliseconds of inference for one frame of the base model, all tiles, through the inspector that a device runs. */
async function frameTimes(dir: string): Promise<Record<string, number>> {
  const base = join(ROOT, "cloud-trainer/base");
  const bundle = join(dir, "bundle");
  const { preprocess, scoring } = await stageBundle({ modelDir: base, words: BASE_WORDS, golden: await goldenPictures(1), outDir: bundle });
  await writeFile(join(bundle, "manifest.json"), JSON.stringify({ precision: "fp32", preprocess, scoring }));
  await mkdir(join(dir, "frames"));
  const frames = await surfaces(16, 250);
  for (const [i, png] of frames.entries()) await writeFile(join(dir, "frames", `${i}.png`), png);
  const times: Record<string, number> = { float32: await inspectAll(bundle, frames) };
  for (const scheme of SCHEMES) {
    const out = join(dir, `base-${scheme}`);
    kenpin(["quantize", base, "--scheme", scheme, "--calibration", join(dir, "frames"), "--judged", "16", "--search", "0", "--out", out]);
    await copyFile(join(out, "vision.onnx"), join(bundle, "vision.onnx"));
    times[scheme] = await inspectAll(bundle, frames);
  }
  return times;
}

async function inspectAll(bundleDir: string, frames: readonly Uint8Array[]): Promise<number> {
  const inspector = await startInspector({ bundleDir, threads: 2 });
  try {
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      for (const frame of frames) {
        const { ms } = (await inspector.inspect(frame)).inspection;
        if (round > 0) times.push(ms.infer);
      }
    }
    return times.sort((a, b) => a - b)[Math.floor(times.length / 2)] as number;
  } finally {
    await inspector.close();
  }
}

function kenpin(args: string[]): void {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const ran = spawnSync(process.execPath, [...flags, join(ROOT, "cloud-trainer/src/cli.ts"), ...args], { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(ran.stderr.trim().split("\n").at(-1));
}

function table({ models, onnxruntime }: Timed, outliers: Timed, student: Record<string, number>): string {
  const row = (name: string) => {
    const { msMedian, msLeast, bytes, cosineMean, cosineLeast } = models[name] as Measured;
    const against = name === "float" ? "std" : "std8";
    const faster = name.startsWith("std") ? "" : `${((models[against]?.msMedian as number) / msMedian).toFixed(2)}×`;
    const other = outliers.models[name] as Measured;
    const cells = [
      LABELS[name],
      msMedian.toFixed(1),
      msLeast.toFixed(1),
      faster,
      (bytes / 1e6).toFixed(1),
      cosineMean.toFixed(5),
      cosineLeast.toFixed(5),
      other.cosineMean.toFixed(5),
    ];
    return `| ${cells.join(" | ")} |`;
  };
  return [
    `${MODEL} image tower, batch 1, two threads, onnxruntime ${onnxruntime}, ${cpus()[0]?.model} (${cpus().length} cores)`,
    "",
    "| route | median ms | least ms | faster than the standard route | MB | cosine to float32, mean | least | mean with outlier weights |",
    "|---|---|---|---|---|---|---|---|",
    ...Object.keys(LABELS).map(row),
    "",
    "| base model, one 250-pixel frame, all tiles | inference ms |",
    "|---|---|",
    ...Object.entries(student).map(([name, ms]) => `| ${name} | ${ms.toFixed(1)} |`),
    "",
  ].join("\n");
}

function chart({ models }: Timed): string {
  const bars: Bar[] = Object.keys(LABELS).map((name) => {
    const { msMedian, cosineMean } = models[name] as Measured;
    return {
      label: LABELS[name] as string,
      ms: msMedian,
      note: name.startsWith("std") && name !== "std8" ? "" : `cosine ${cosineMean.toFixed(4)}`,
    };
  });
  return barChart(`${MODEL} image tower, one picture, two threads`, bars);
}
