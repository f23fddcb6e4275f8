/**
 * What words alone tell on generated surfaces that nobody trained or chose on: AUROC of frames for the plain sentences that the
 * base was trained with, and for part sheets by the ensemble; and WinCLIP's windows beside the one pass, with what both cost.
 *   node --conditions=kenpin-source test/bench/zero-shot-words.ts [--model DIR] [--frames 400] [--windows 40] [--seed 90210] [--out FILE]
 * `spread` is the standard error of the AUROC's difference from the plain sentences, over 200 draws of the frames with replacement.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { tileFrame } from "@kenpin/clip";
import { enlargeMap, promptDirections, rawText, startModel, stitch, wordLogits } from "@kenpin/inspector";
import { visionGraph } from "@kenpin/onnx";
import { PartSheet, type PromptSet } from "@kenpin/schema";
import { auroc, createPixelRanking, createRandom } from "@kenpin/stats";
import sharp from "sharp";
import { embedWords, withTextModel } from "../../cloud-trainer/src/bundle/embed-words.ts";
import { openWinclip } from "../../cloud-trainer/src/evaluate/winclip.ts";
import { drawSurface } from "../../cloud-trainer/src/samples/generate.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { preprocessOf, readWeightsFolder } from "../../cloud-trainer/src/weights-folder.ts";

const SIDE = 250;
const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(import.meta.dirname, "../../cloud-trainer/base") },
    frames: { type: "string", default: "400" },
    windows: { type: "string", default: "40" },
    seed: { type: "string", default: "90210" },
    out: { type: "string" },
  },
});
const SHEETS: Record<string, object> = {
  "two lines": {},
  キズ: { bad: ["キズ"] },
  "キズ, general: 0": { bad: ["キズ"], good: ["良品"], general: 0 },
  "キズ 打痕 汚れ 欠け 異物": { bad: ["キズ", "打痕", "汚れ", "欠け", "異物"] },
  "キズ 打痕 汚れ 欠け 異物, general: 0": { bad: ["キズ", "打痕", "汚れ", "欠け", "異物"], good: ["良品"], general: 0 },
  "バリ ヒケ ウェルド 錆 欠品": { bad: ["バリ", "ヒケ", "ウェルド", "錆", "欠品"] },
};
/** The material's own noun, and one that the base has never read. */
const OBJECTS = ["own noun", "metal bracket"] as const;

type Frame = { png: Uint8Array; mask: Uint8Array | null; bad: 0 | 1; noun: string; patches: Float32Array; images: Float32Array };

const weights = await readWeightsFolder(values.model);
const preprocess = preprocessOf(weights);
const folder = mkdtempSync(join(tmpdir(), "kenpin-zero-shot-"));
try {
  const frames = await drawFrames(Number(values.frames), Number(values.seed));
  const report = await withTextModel(weights, async (textModel) => {
    const embed = (words: Parameters<typeof embedWords>[1]) => embedWords(weights, words, textModel);
    const plain = await judge(frames, () => embed(BASE_WORDS));
    const sheets: Record<string, ReturnType<typeof figures>> = {};
    for (const [name, rest] of Object.entries(SHEETS)) {
      for (const object of OBJECTS) {
        const scores = await judge(frames, (noun) => {
          const sheet = PartSheet.parse({ part: "generated", object: object === "own noun" ? noun : object, ...rest });
          return embed({ good: ["-"], bad: ["-"], sheet });
        });
        sheets[`${name} | ${object}`] = figures(frames, scores, plain);
      }
    }
    const windows = await compareWindows(frames.slice(0, Number(values.windows)), await embed(BASE_WORDS));
    const bad = frames.filter(({ bad: is }) => is).length;
    return {
      bench: "zero-shot-words",
      seed: Number(values.seed),
      frames: frames.length,
      bad,
      plain: figures(frames, plain, plain),
      sheets,
      windows,
    };
  });
  const text = `${JSON.stringify(report, null, 2)}\n`;
  if (values.out) writeFileSync(values.out, text);
  process.stdout.write(text);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function drawFrames(count: number, seed: number): Promise<Frame[]> {
  const file = join(folder, "vision.onnx");
  writeFileSync(file, visionGraph({ config: weights.config, weights: weights.tensors, flavour: "ort" }));
  const model = startModel({ model: file });
  const random = createRandom(seed);
  const frames: Frame[] = [];
  try {
    for (let i = 0; i < count; i++) {
      const { planes, mask, defect, material } = drawSurface(random, SIDE, { bad: i % 2 === 1 });
      const data = new Uint8Array(SIDE * SIDE * 3);
      for (const [c, plane] of planes.rgb.entries()) for (const [at, value] of plane.entries()) data[at * 3 + c] = Math.round(value * 255);
      const tiles = await tileFrame({ width: SIDE, height: SIDE, data }, preprocess);
      const side = preprocess.tilePx;
      const { tensors } = await model.run({ pixel_values: { data: tiles.pixelValues, dims: [tiles.count, 3, side, side] } });
      const png = await sharp(data, { raw: { width: SIDE, height: SIDE, channels: 3 } })
        .png()
        .toBuffer();
      const [patches, images] = [tensors["patch_embeds"] as Float32Array, tensors["image_embeds"] as Float32Array];
      const defective = defect ? Uint8Array.from(mask, (share) => Number(share >= 0.5)) : null;
      frames.push({ png, mask: defective, bad: defect ? 1 : 0, noun: material.words[0] as string, patches, images });
      if ((i + 1) % 100 === 0) process.stderr.write(`frames: ${i + 1} of ${count}\n`);
    }
  } finally {
    await model.close();
  }
  return frames;
}

/** Each frame's logit by the words for its noun. */
async function judge(frames: Frame[], wordsFor: (noun: string) => Promise<PromptSet>): Promise<number[]> {
  const known = new Map<string, ReturnType<typeof promptDirections>>();
  const logits: number[] = [];
  for (const { noun, patches, images } of frames) {
    const directions = known.get(noun) ?? promptDirections(await wordsFor(noun));
    known.set(noun, directions);
    const { textScale, textBias } = weights.scoring;
    logits.push(textScale * rawText(wordLogits(patches, directions), wordLogits(images, directions), weights.scoring) + textBias);
  }
  return logits;
}

function figures(frames: Frame[], logits: number[], plain: number[]) {
  const labels = frames.map(({ bad }) => bad);
  const random = createRandom(1);
  const differences = Array.from({ length: 200 }, () => {
    const drawn = frames.map(() => random.int(frames.length));
    const of = (list: number[]) =>
      auroc(
        drawn.map((i) => list[i] as number),
        drawn.map((i) => labels[i] as 0 | 1),
      );
    return of(logits) - of(plain);
  });
  const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
  const spread = Math.sqrt(differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / differences.length);
  const accuracy = logits.filter((logit, i) => Number(logit > 0) === labels[i]).length / logits.length;
  return { auroc: auroc(logits, labels), spread, accuracyAtHalf: accuracy };
}

async function compareWindows(frames: Frame[], prompts: PromptSet) {
  const winclip = await openWinclip(weights, prompts);
  const directions = promptDirections(prompts);
  const size = { width: SIDE, height: SIDE };
  const [byWindows, byPass] = [createPixelRanking(), createPixelRanking()];
  const rows: { score: number; classScore: number; pass: number; windowsMs: number; passMs: number }[] = [];
  try {
    for (const { png, mask, patches, images } of frames) {
      const seen = await winclip.look(png);
      byWindows.add({ values: enlargeMap(seen.map, size), mask, ...size });
      const logits = wordLogits(patches, directions);
      byPass.add({ values: enlargeMap(stitch(logits, seen.tiling, preprocess.tilePx), size), mask, ...size });
      const pass = rawText(logits, wordLogits(images, directions), weights.scoring);
      rows.push({ score: seen.score, classScore: seen.classScore, pass, windowsMs: seen.ms.windows, passMs: seen.ms.onePass });
    }
  } finally {
    await winclip.close();
  }
  const labels = frames.map(({ bad }) => bad);
  const of = (name: keyof (typeof rows)[number]) => rows.map((row) => row[name]);
  const median = (list: number[]) => list.sort((a, b) => a - b)[list.length >> 1] as number;
  return {
    frames: frames.length,
    winclip: {
      auroc: auroc(of("score"), labels),
      classToken: auroc(of("classScore"), labels),
      pixelAuroc: byWindows.auroc(),
      ms: median(of("windowsMs")),
    },
    onePass: { auroc: auroc(of("pass"), labels), pixelAuroc: byPass.auroc(), ms: median(of("passMs")) },
  };
}
