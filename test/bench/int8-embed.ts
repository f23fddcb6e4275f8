/** node int8-embed.ts PIXELS SIDE MODEL...: prints each model's image embeddings of the file's tiles (float32 [n, 3, S, S]) as JSON. */
import { readFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [file, side, ...models] = process.argv.slice(2) as [string, string, ...string[]];
const bytes = new Uint8Array(readFileSync(file));
const size = 3 * Number(side) ** 2;
const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const rows: number[][][] = [];
for (const model of models) {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  const embeds: number[][] = [];
  for (let at = 0; at < all.length; at += size) {
    const tile = new Tensor("float32", all.subarray(at, at + size), [1, 3, Number(side), Number(side)]);
    const { image_embeds } = await session.run({ pixel_values: tile }, ["image_embeds"]);
    embeds.push([...((image_embeds as Tensor).data as Float32Array)]);
  }
  rows.push(embeds);
}
process.stdout.write(JSON.stringify(rows));
