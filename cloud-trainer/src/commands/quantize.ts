/** `kenpin quantize`: a model folder in 8 bits or half precision, with a report of what that cost; see ../quantize. */
import { join } from "node:path";
import { parseAtDoor } from "@kenpin/schema";
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
      const [{ quantizeModel }, { judgingInputs }] = await Promise.all([
        import("../quantize/quantize-model.ts"),
        import("../judging-inputs.ts"),
      ]);
      const report = await quantizeModel({
        model: folder,
        out,
        scheme,
        towers: ["vision", "text"],
        calibration,
        weights: FORMS[weights],
        images,
        budget: { evaluations: search, target, sizeRatio },
        ...judgingInputs(judged),
        onProgress: (line) => process.stderr.write(`${line}\n`),
      });
      for (const line of report.shortfalls) process.stderr.write(`warning: ${line}\n`);
      if (json) process.stdout.write(`${JSON.stringify(report)}\n`);
      else process.stdout.write(`${await summary(out, report)}\n`);
    });
}

async function summary(
  out: string,
  { scheme, vision, text }: Awaited<ReturnType<typeof import("../quantize/quantize-model.ts").quantizeModel>>,
) {
  const { auroc, cosine, ms, bytes, inFloat, layers } = vision;
  const worst = layers.reduce((a, b) => (b.error > a.error ? b : a));
  const points = ({ before, after }: { before: number; after: number }) => `${before.toFixed(4)} → ${after.toFixed(4)}`;
  return [
    `${out}: ${scheme}, image tower ${(bytes.ratio * 100).toFixed(1)} % of its float size, text tower ${((text?.bytes.ratio ?? 1) * 100).toFixed(1)} %`,
    `cosine to float: pictures ${cosine.imageMean.toFixed(5)}, patches ${cosine.patchMean?.toFixed(5) ?? "none"}, texts ${text?.cosine.mean.toFixed(5) ?? "none"}`,
    `AUROC on ${auroc.pictures} generated pictures: image ${points(auroc.image)}, pixel ${auroc.pixel ? points(auroc.pixel) : "none"}`,
    `one tile: ${ms.before.toFixed(1)} → ${ms.after.toFixed(1)} ms; ${inFloat.length} places kept in float`,
    `largest error by layer: ${(worst.error * 100).toFixed(1)} %, ${worst.name}; all of it in ${join(out, "quantization.json")}`,
  ].join("\n");
}
