/** `kenpin quantize`: a model folder in 8 bits or half precision, with a report of what that cost; see ../quantize. */
import type { RgbImage } from "@kenpin/clip";
import { parseAtDoor, type Preprocess } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { Command } from "commander";
import { z } from "zod";

const Options = z.strictObject({
  scheme: z.enum(["int8-dynamic", "int8-static", "fp16", "qdq"]),
  calibration: z.string().min(1).optional(),
  out: z.string().min(1),
  weights: z.enum(["8", "7", "u8", "device"]),
  images: z.coerce.number().int().min(1).max(1024),
  target: z.coerce.number().min(0).max(1),
  sizeRatio: z.coerce.number().min(0.25).max(1),
  search: z.coerce.number().int().min(0).max(1000),
  judged: z.coerce.number().int().min(2).max(2000),
  json: z.boolean().default(false),
});
const FORMS = { "8": { type: "int8", bits: 8 }, "7": { type: "int8", bits: 7 }, u8: { type: "uint8", bits: 8 }, device: "device" } as const;
const SEED = 8;

export function quantizeCommand(): Command {
  return new Command("quantize")
    .description("write a model folder again in fewer bits, with a report of what that costs")
    .argument("<folder>", "folder of `kenpin import`, or one to train on")
    .requiredOption("--scheme <scheme>", "int8-dynamic or int8-static (ONNX Runtime on CPUs), fp16 (GPUs), qdq (TensorRT)")
    .option("--calibration <dir>", "folder of pictures from the line; all but fp16 need it")
    .requiredOption("--out <dir>", "new folder")
    .option("--weights <form>", "8 or 7 bits, u8, or device: 7 where this processor's 8-bit products saturate", "device")
    .option("--images <n>", "calibration pictures at most", "128")
    .option("--target <cosine>", "below this fidelity a search keeps places in float", "0.997")
    .option("--size-ratio <share>", "the search keeps the file below this share of the float one", "0.30")
    .option("--search <n>", "graphs the search may try", "16")
    .option("--judged <n>", "generated pictures with known defects to judge by", "96")
    .option("--json", "print the report as JSON")
    .action(async (folder: string, given: unknown) => {
      const options = parseAtDoor(Options, given, "kenpin quantize");
      const { scheme, calibration = null, out, json, weights, images, target, sizeRatio, search, judged } = options;
      const { quantizeModel } = await import("../quantize/quantize-model.ts");
      const { BASE_WORDS } = await import("../samples/words.ts");
      const report = await quantizeModel({
        model: folder,
        out,
        scheme,
        calibration,
        weights: FORMS[weights],
        images,
        budget: { evaluations: search, target, sizeRatio },
        words: BASE_WORDS,
        texts: await captions(),
        drawJudged: (preprocess) => drawJudged(preprocess, judged),
        onProgress: (line) => process.stderr.write(`${line}\n`),
      });
      if (json) process.stdout.write(`${JSON.stringify(report)}\n`);
      else process.stdout.write(`${await summary(out, report)}\n`);
    });
}

/** Generated surfaces of one tile, half of them with a defect, with its mask. */
async function drawJudged(preprocess: Preprocess, count: number) {
  const [{ drawSurface }, { tileFrame }] = await Promise.all([import("../samples/generate.ts"), import("@kenpin/clip")]);
  const random = createRandom(SEED);
  const side = preprocess.tilePx;
  const judged = [];
  for (let i = 0; i < count; i++) {
    const { planes, mask, defect } = drawSurface(random, side, { bad: i % 2 === 1 });
    const data = new Uint8Array(side * side * 3);
    for (const [c, plane] of planes.rgb.entries()) for (const [at, value] of plane.entries()) data[at * 3 + c] = Math.round(value * 255);
    const image: RgbImage = { width: side, height: side, data };
    judged.push({ pixels: (await tileFrame(image, preprocess)).pixelValues, mask, bad: defect !== null });
  }
  return judged;
}

async function captions(): Promise<string[]> {
  const [{ captionOf, surfaceStream }, { BASE_WORDS }] = await Promise.all([
    import("../samples/generate.ts"),
    import("../samples/words.ts"),
  ]);
  const random = createRandom(SEED);
  const next = surfaceStream(SEED, 32);
  return [...BASE_WORDS.good, ...BASE_WORDS.bad, ...Array.from({ length: 24 }, () => captionOf(next(), random).text)];
}

async function summary(
  out: string,
  { scheme, vision, text }: Awaited<ReturnType<typeof import("../quantize/quantize-model.ts").quantizeModel>>,
) {
  const { auroc, cosine, ms, bytes, inFloat } = vision;
  const points = ({ before, after }: { before: number; after: number }) => `${before.toFixed(4)} → ${after.toFixed(4)}`;
  return [
    `${out}: ${scheme}, image tower ${(bytes.ratio * 100).toFixed(1)} % of its float size, text tower ${(text.bytes.ratio * 100).toFixed(1)} %`,
    `cosine to float: pictures ${cosine.imageMean.toFixed(5)}, patches ${cosine.patchMean?.toFixed(5) ?? "none"}, texts ${text.cosine.mean.toFixed(5)}`,
    `AUROC on ${auroc.pictures} generated pictures: image ${points(auroc.image)}, pixel ${auroc.pixel ? points(auroc.pixel) : "none"}`,
    `one tile: ${ms.before.toFixed(1)} → ${ms.after.toFixed(1)} ms; ${inFloat.length} places kept in float`,
  ].join("\n");
}
