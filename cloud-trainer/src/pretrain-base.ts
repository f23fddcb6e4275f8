/**
 * `kenpin train-base`: the base model from generated surfaces alone, on this machine's processor. Joins the generator and
 * the engine. Writes a weights' folder, and its model.safetensors anew every few minutes while it trains.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTokenizer, encodeSafetensors, modelConfig } from "@kenpin/clip";
import { startScoringFile } from "./import/start-scoring.ts";
import { batchStream, surfacePool } from "./samples/batch.ts";
import { BASE_WORDS } from "./samples/words.ts";
import { trainContrastive } from "./train/engines/tfjs/contrastive.ts";
import { drawTensors } from "./train/engines/tfjs/weights.ts";
import { ScoringFile, writeWeightsFolder } from "./weights-folder.ts";

export type BaseOptions = { model: string; out: string; seconds: number; seed: number; batch: number; pool: number; rate: number };

const SAY_EVERY_MS = 5000;

export async function trainBase({ model, out, seconds, seed, batch, pool, rate }: BaseOptions, say: (line: string) => void): Promise<void> {
  const config = modelConfig(model);
  mkdirSync(out, { recursive: true });
  const surfaces = surfacePool(seed, config.image.size, pool, (done) => say(`making surfaces: ${done} of ${pool}`));
  let saidAt = 0;
  const curve: { step: number; loss: number }[] = [];
  const { tensors, ...figures } = await trainContrastive({
    config,
    tensors: drawTensors(config, seed),
    tokenizer: createTokenizer(config.text),
    nextBatch: batchStream(surfaces, { config, size: batch, seed: seed + 1 }),
    words: BASE_WORDS,
    rate,
    warmup: 50,
    seconds,
    checkpointEvery: 200,
    onCheckpoint: (weights) => writeFileSync(join(out, "model.safetensors"), encodeSafetensors(weights, { model })),
    onStep: ({ step, loss, gradientNorm, imagesPerSecond, secondsLeft }) => {
      if (step % 25 === 0) curve.push({ step, loss: Number(loss.toFixed(4)) });
      if (Date.now() - saidAt < SAY_EVERY_MS) return;
      saidAt = Date.now();
      const speed = `${imagesPerSecond.toFixed(0)} images/s, ${secondsLeft.toFixed(0)} s left`;
      say(`step ${step}, loss ${loss.toFixed(3)}, gradient ${gradientNorm.toFixed(2)}, ${speed}`);
    },
  });
  const recipe = { engine: "tfjs", model, seed, batch, surfaces: pool, rate, seconds, optimizer: "lamb", words: BASE_WORDS };
  const source = `trained by kenpin's own code on ${pool} captioned surfaces made by its own generator; no photograph, no other weights`;
  await writeWeightsFolder(out, {
    config,
    tensors,
    ...ScoringFile.parse(startScoringFile(config)),
    card: { name: `${model} base`, provenance: [{ name: `${model} base`, licence: "Apache-2.0", source }], recipe, figures, curve },
  });
}
