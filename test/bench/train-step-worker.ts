/**
 * The other side of test/bench/train-step.ts: a step of this engine, as a training stage takes it.
 * In and out as test/bench/train-step.py.
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseModelConfig, vocabularySize } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import { loadBackend, type Tensor2D } from "../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { createImageTower } from "../../cloud-trainer/src/train/engines/tfjs/image-tower.ts";
import { weight } from "../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { clipLoss } from "../../cloud-trainer/src/train/engines/tfjs/losses.ts";
import { gradientsOf } from "../../cloud-trainer/src/train/engines/tfjs/objective.ts";
import { createOptimizer, globalNorm } from "../../cloud-trainer/src/train/engines/tfjs/optimizer.ts";
import { createTextTower } from "../../cloud-trainer/src/train/engines/tfjs/text-tower.ts";
import { drawTensors, toWeights } from "../../cloud-trainer/src/train/engines/tfjs/weights.ts";

const config = parseModelConfig(JSON.parse(readFileSync(process.argv[2] as string, "utf8")), "bench");
const [batch, stay] = process.argv.slice(3, 5).map(Number) as [number, number];
const { tf, name } = await loadBackend();
const random = createRandom(1);
const { size, patch } = config.image;
const patches = (size / patch) ** 2;
const pixels = Float32Array.from({ length: batch * 3 * size ** 2 }, random.normal);
const ids = Array.from({ length: batch }, () => {
  const row = Int32Array.from({ length: config.text.context }, () => random.int(vocabularySize(config) - 2));
  row[row.length - 1] = vocabularySize(config) - 1;
  return row;
});
const kept =
  stay > 0
    ? tf.tensor2d(
        Array.from({ length: batch }, () => random.shuffle([...Array(patches).keys()]).slice(0, stay)),
        [batch, stay],
        "int32",
      )
    : null;
const weights = toWeights(tf, drawTensors(config, 1));
const towers = { image: createImageTower(tf, config), text: createTextTower(tf, config) };
const optimizer = createOptimizer(tf, weights, { name: "lamb" });
let forwardEnd = 0;
const objective = gradientsOf(tf, weights, () => {
  const tokens = towers.image.tokens(weights, tf.tensor4d(pixels, [batch, 3, size, size]), kept ? { kept } : {});
  const [cls] = tf.split(tf.reshape(tokens, [batch, -1, config.image.width]), [1, tokens.shape[0] / batch - 1], 1);
  const images = towers.image.head(weights, tf.reshape(cls as Tensor2D, [batch, config.image.width]) as Tensor2D);
  const loss = clipLoss(tf, images, towers.text(weights, ids), tf.exp(weight(weights, "logit_scale")));
  forwardEnd = performance.now();
  return loss;
});

process.stdout.write(`${JSON.stringify({ side: "kenpin", version: `${name} on Node ${process.version}` })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const rows: [number, number, number][] = [];
  let value = 0;
  for (let i = 0; i < Number(line); i++) {
    const began = performance.now();
    const { loss, gradients } = objective(null);
    const [read, norm] = tf.tidy(() => tf.stack([loss, globalNorm(tf, gradients)]).dataSync()) as unknown as [number, number];
    const backwardEnd = performance.now();
    optimizer.step(weights, gradients, { rate: 1e-3, norm });
    tf.dispose([loss, ...gradients.values()]);
    rows.push([forwardEnd - began, backwardEnd - forwardEnd, performance.now() - backwardEnd]);
    value = read;
  }
  const parts = [0, 1, 2].map((part) => rows.map((row) => row[part] as number).sort((a, b) => a - b)[rows.length >> 1]);
  process.stdout.write(`${JSON.stringify({ steps: rows.map(([a, b, c]) => a + b + c), parts, loss: value })}\n`);
}
