/**
 * Milliseconds a frame takes by stage, of the shipped base model at one size: decode, preprocess, infer, map (regions and the
 * frame's own figures) and decide, as medians. The heat map's picture is drawn only where somebody asks for it: beside.
 *   node --conditions=kenpin-source test/bench/frame-stages.ts [--width 640] [--height 480] [--frames 60] [--picture FILE] [--out FILE]
 * Without a picture a generated surface is drawn, whose grain makes a JPEG of quality 90 twice as large as a photograph's.
 * Asked: all but inference at most 5 ms at 640 × 480 on two cores. Prints JSON.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Inspection, startInspector } from "@kenpin/inspector";
import type { BundleManifest } from "@kenpin/schema";
import { createRandom, quantile } from "@kenpin/stats";
import sharp from "sharp";
import { stageBundle } from "../../cloud-trainer/src/bundle/stage.ts";
import { drawSurface } from "../../cloud-trainer/src/samples/generate.ts";
import { goldenPictures } from "../../cloud-trainer/src/samples/pictures.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { draftVerdict } from "../../edge-agent/src/decide/verdict-draft.ts";

const WARM_UP = 5;
const REFERENCES = 6;
const { values } = parseArgs({
  options: {
    width: { type: "string", default: "640" },
    height: { type: "string", default: "480" },
    frames: { type: "string", default: "60" },
    picture: { type: "string" },
    out: { type: "string" },
  },
});
const [width, height, count] = [Number(values.width), Number(values.height), Number(values.frames)];

const folder = mkdtempSync(join(tmpdir(), "kenpin-stages-"));
try {
  const modelDir = join(import.meta.dirname, "../../cloud-trainer/base");
  const staged = await stageBundle({ modelDir, words: BASE_WORDS, golden: await goldenPictures(1), outDir: folder });
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(staged));
  const raw = values.picture ? sharp(values.picture).removeAlpha().resize(width, height) : drawn();
  const frames = { jpeg: await raw.clone().jpeg({ quality: 90 }).toBuffer(), png: await raw.clone().png().toBuffer() };
  const results = [];
  for (const [type, frame] of Object.entries(frames)) results.push({ type, bytes: frame.length, ...(await measure(frame)) });
  const report = { bench: "frame-stages", width, height, cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, results };
  const text = `${JSON.stringify(report, null, 2)}\n`;
  if (values.out) writeFileSync(values.out, text);
  process.stdout.write(text);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function drawn() {
  const random = createRandom(12);
  const { planes } = drawSurface(random, Math.max(width, height), { bad: true });
  const data = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (const [c, plane] of planes.rgb.entries())
        data[(y * width + x) * 3 + c] = Math.round((plane[y * planes.side + x] as number) * 255);
    }
  }
  return sharp(data, { raw: { width, height, channels: 3 } });
}

async function measure(frame: Uint8Array) {
  const inspector = await startInspector({ bundleDir: folder });
  try {
    const words = await stages(inspector, frame);
    const references = Array.from({ length: REFERENCES }, (_, i) => ({
      frame: Buffer.concat([frame, Buffer.from([i])]),
      label: "good" as const,
    }));
    await inspector.teach(references);
    const taught = await stages(inspector, frame);
    const drawn = [];
    for (let i = 0; i < 9; i++) drawn.push((await inspector.inspect(frame, { map: true })).inspection.ms.map);
    return { words, withReferences: taught, mapWithHeatMapPicture: quantile(drawn, 0.5) };
  } finally {
    await inspector.close();
  }
}

async function stages(inspector: Awaited<ReturnType<typeof startInspector>>, frame: Uint8Array) {
  const times: (Inspection["ms"] & { decide: number })[] = [];
  for (let i = -WARM_UP; i < count; i++) {
    const { inspection } = await inspector.inspect(frame);
    if (i >= 0) times.push({ ...inspection.ms, decide: decideMs(inspection) });
  }
  const median = (of: (time: (typeof times)[number]) => number) => Math.round(quantile(times.map(of), 0.5) * 100) / 100;
  const { decode, preprocess, map, decide } = {
    decode: median((time) => time.decode),
    preprocess: median((time) => time.preprocess),
    map: median((time) => time.map),
    decide: median((time) => time.decide),
  };
  const allButInference = median((time) => time.decode + time.preprocess + time.map + time.decide);
  return { decode, preprocess, infer: median((time) => time.infer), map, decide, allButInference };
}

function decideMs(inspection: Inspection): number {
  const camera = { name: "c", folder: "", deadlineMs: 10_000 };
  const manifest = { precision: "fp32" } as BundleManifest;
  const started = performance.now();
  draftVerdict({
    config: { site: "s", line: "l", agent: "a" },
    frame: { camera, sha256: "", triggerId: "", capturedAt: new Date(), takenAt: performance.now() },
    inspection,
    distrust: null,
    setup: { bundle: "", folder: "", settings: "", references: [], manifest, thresholds: { pass: 0.3, cut: 0.5, fail: 0.7, chosenBy: "" } },
    provider: "cpu",
  } as unknown as Parameters<typeof draftVerdict>[0]);
  return performance.now() - started;
}
