/** node embed-pictures.ts FOLDER MODEL...: prints each model's embeddings of the folder's first pictures as JSON. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp from "sharp";

const SIDE = 80;
const [folder, ...models] = process.argv.slice(2) as [string, ...string[]];
const pixels: Float32Array[] = [];
for (const name of readdirSync(folder).sort().slice(0, 6)) {
  const rgb = await sharp(readFileSync(join(folder, name)))
    .removeAlpha()
    .raw()
    .toBuffer();
  pixels.push(
    Float32Array.from(
      { length: 3 * SIDE * SIDE },
      (_, i) => ((rgb[(i % SIDE ** 2) * 3 + Math.floor(i / SIDE ** 2)] as number) / 255 - 0.45) / 0.27,
    ),
  );
}
const rows: number[][][] = [];
for (const model of models) {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  const one = async (data: Float32Array) => {
    const { image_embeds } = await session.run({ pixel_values: new Tensor("float32", data, [1, 3, SIDE, SIDE]) });
    return [...(image_embeds as Tensor & { data: Float32Array }).data];
  };
  const embeds: number[][] = [];
  for (const data of pixels) embeds.push(await one(data));
  rows.push(embeds);
}
process.stdout.write(JSON.stringify(rows));
