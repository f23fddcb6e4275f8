/**
 * `kenpin train-base`: the base model, from generated surfaces alone. Joins the generator and the engine.
 * Writes model.safetensors and card.json into the output folder, and a checkpoint there every few minutes.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTokenizer, encodeSafetensors, modelConfig } from "@kenpin/clip";
import { batchStream, surfacePool } from "./samples/batch.ts";
import { BASE_WORDS } from "./samples/words.ts";
import { trainContrastive } from "./train/engines/tfjs/contrastive.ts";
import { drawTensors } from "./train/engines/tfjs/weights.ts";

export type BaseOptions = { model: string; out: string; seconds: number; seed: number; batch: number; pool: number; rate: number };

export async function trainBase({ model, out, seconds, seed, batch, pool, rate }: BaseOptions, say: (line: string) => void): Promise<void> {
  const config = modelConfig(model);
  const tokenizer = createTokenizer(config.text);
  mkdirSync(out, { recursive: true });
  const surfaces = surfacePool(seed, config.image.size, pool, (done) => say(`making surfaces: ${done} of ${pool}`));
  const write = (tensors: Parameters<typeof encodeSafetensors>[0]) =>
    writeFileSync(join(out, "model.safetensors"), encodeSafetensors(tensors, { model }));
  let said = 0;
  const curve: { step: number; loss: number }[] = [];
  const result = await trainContrastive({
    config,
    tensors: drawTensors(config, seed),
    tokenizer,
    nextBatch: batchStream(surfaces, { config, size: batch, seed: seed + 1 }),
    words: BASE_WORDS,
    rate,
    warmup: 50,
    seconds,
    checkpointEvery: 200,
    onCheckpoint: write,
    onStep: ({ step, loss, gradientNorm, imagesPerSecond, secondsLeft }) => {
      if (step % 25 === 0) curve.push({ step, loss: Number(loss.toFixed(4)) });
      if (Date.now() - said < 5000) return;
      said = Date.now();
      say(
        `step ${step}, loss ${loss.toFixed(3)}, gradient ${gradientNorm.toFixed(2)}, ${imagesPerSecond.toFixed(0)} images/s, ${secondsLeft.toFixed(0)} s left`,
      );
    },
  });
  write(result.tensors);
  const { tensors: _, ...figures } = result;
  const recipe = { model, seed, batch, pool, rate, optimizer: "lamb", loss: "InfoNCE + 2 × patch cross-entropy", words: BASE_WORDS };
  const card = {
    name: "kenpin base",
    data: "captioned surfaces made by the project's own generator; no photograph",
    licence: "Apache-2.0",
    recipe,
    figures,
    curve,
  };
  writeFileSync(join(out, "card.json"), `${JSON.stringify(card, null, 2)}\n`);
  writeFileSync(join(out, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
}
