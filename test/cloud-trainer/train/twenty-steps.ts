/**
 * Run by determinism.test.ts in a process of its own: twenty steps of both towers with patches dropped and masked, LAMB, from
 * the seed in argv. Prints the SHA-256 of all weights.
 */
import { createHash } from "node:crypto";
import { modelConfig, vocabularySize } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { createImageTower } from "../../../cloud-trainer/src/train/engines/tfjs/image-tower.ts";
import { weight } from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { clipLoss } from "../../../cloud-trainer/src/train/engines/tfjs/losses.ts";
import { gradientsOf } from "../../../cloud-trainer/src/train/engines/tfjs/objective.ts";
import { createOptimizer, globalNorm } from "../../../cloud-trainer/src/train/engines/tfjs/optimizer.ts";
import { createTextTower } from "../../../cloud-trainer/src/train/engines/tfjs/text-tower.ts";
import { drawTensors, toWeights } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";

const [BATCH, KEPT, STEPS] = [12, 50, 20];
const config = modelConfig("kenpin-s-8");
const { tf } = await loadBackend();
const random = createRandom(Number(process.argv[2]));
const side = config.image.size;
const patches = (side / config.image.patch) ** 2;
const weights = toWeights(tf, drawTensors(config, 7));
weights.set("mask_token", tf.variable(tf.fill([1, 1, config.image.width], 0.1)));
const [image, text] = [createImageTower(tf, config, { recompute: true }), createTextTower(tf, config)];
const optimizer = createOptimizer(tf, weights, { name: "lamb" });

const objective = gradientsOf(tf, weights, () => {
  const pixels = tf.tensor4d(Float32Array.from({ length: BATCH * 3 * side ** 2 }, random.normal), [BATCH, 3, side, side]);
  const kept = Array.from({ length: BATCH }, () => random.shuffle([...Array(patches).keys()]).slice(0, KEPT));
  const masked = Array.from({ length: BATCH }, () => Array.from({ length: patches }, () => Number(random.next() < 0.4)));
  const ids = Array.from({ length: BATCH }, () =>
    Int32Array.from({ length: config.text.context }, (_, i) => (i === 20 ? vocabularySize(config) - 1 : random.int(100))),
  );
  const { imageEmbeds } = image.embed(weights, pixels, { kept: tf.tensor2d(kept, [BATCH, KEPT], "int32"), masked: tf.tensor2d(masked) });
  return clipLoss(tf, imageEmbeds, text(weights, ids), tf.exp(weight(weights, "logit_scale")));
});

for (let step = 0; step < STEPS; step++) {
  const { loss, gradients } = objective(null);
  const norm = tf.tidy(() => globalNorm(tf, gradients).dataSync()[0]) as number;
  optimizer.step(weights, gradients, { rate: 0.01, norm });
  tf.dispose([loss, ...gradients.values()]);
}
const digest = createHash("sha256");
for (const variable of weights.values()) digest.update(Buffer.from((variable.dataSync() as Float32Array).slice().buffer));
process.stdout.write(`${digest.digest("hex")} ${Number.isFinite(weight(weights, "logit_scale").dataSync()[0])}\n`);
