/**
 * One forward and backward pass of both towers on the seeded weights, pixels, ids and choices of
 * test/fixtures/train/make_blocks.py. In: a configuration and a case of it. Out: embeddings, and every weight's gradient of
 * Σ embedding · share, by name.
 */
import type { ModelConfig } from "@kenpin/clip";
import type { Tensor, Tensor2D, Tf } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { createImageTower, type PatchChoice } from "../../../cloud-trainer/src/train/engines/tfjs/image-tower.ts";
import { createTextTower } from "../../../cloud-trainer/src/train/engines/tfjs/text-tower.ts";
import { toWeights } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { draw, goldenIds, goldenPixels, seededTensors } from "../../onnx/seeded-weights.ts";

export type Case = { name: string; kept?: boolean; masked?: boolean };
export const CASES: Case[] = [
  { name: "all patches" },
  { name: "dropped patches", kept: true },
  { name: "masked patches", masked: true },
  { name: "both", kept: true, masked: true },
];
const BATCH = 2;
const SAMPLE = 44;

type Run = { embeds: Record<"image_embeds" | "patch_embeds" | "text_embeds", Float32Array>; gradients: Map<string, Float32Array> };

export function runTowers(tf: Tf, config: ModelConfig, { kept = false, masked = false }: Partial<Case>, recompute = false): Run {
  const tensors = seededTensors(config);
  tensors.set("mask_token", { shape: [1, 1, config.image.width], data: Float32Array.from(draw("mask_token", config.image.width)) });
  const weights = toWeights(tf, tensors);
  const [image, text] = [createImageTower(tf, config, { recompute }), createTextTower(tf, config, { recompute })];
  const side = config.image.size;
  const embeds = {} as Run["embeds"];
  const { value, grads } = tf.variableGrads(() => {
    const pixels = tf.tensor4d(goldenPixels(config, BATCH), [BATCH, 3, side, side]);
    const { imageEmbeds, patchEmbeds } = image.embed(weights, pixels, patchChoice(tf, config, kept, masked));
    const all = { image_embeds: imageEmbeds, patch_embeds: patchEmbeds, text_embeds: text(weights, idRows(config)) };
    const terms = Object.entries(all).map(([name, embed]) => {
      embeds[name as keyof typeof all] = embed.dataSync() as Float32Array;
      return tf.sum(tf.mul(embed, tf.tensor(Float32Array.from(draw(`share ${name}`, embed.size)), embed.shape)));
    });
    return tf.addN(terms) as never;
  });
  const gradients = new Map<string, Float32Array>();
  for (const [name, variable] of weights) {
    const gradient = grads[variable.name] as Tensor | undefined;
    if (gradient && (masked || name !== "mask_token")) gradients.set(name, gradient.dataSync() as Float32Array);
  }
  tf.dispose([value, grads, [...weights.values()]]);
  return { embeds, gradients };
}

function patchChoice(tf: Tf, { image }: ModelConfig, kept: boolean, masked: boolean): PatchChoice {
  const patches = (image.size / image.patch) ** 2;
  const drawn = (what: string) => Array.from({ length: BATCH }, (_, b) => [...draw(`${what}${b}`, patches)]);
  const order = (row: number[]) => row.map((_, i) => i).sort((i, j) => (row[i] as number) - (row[j] as number));
  const half = Math.floor(patches / 2);
  return {
    ...(kept && {
      kept: tf.tensor2d(
        drawn("kept").map((row) => order(row).slice(0, half)),
        [BATCH, half],
        "int32",
      ),
    }),
    ...(masked && { masked: tf.tensor2d(drawn("masked").map((row) => row.map((u) => Number(u > 0.2)))) as Tensor2D }),
  };
}

function idRows(config: ModelConfig): Int32Array[] {
  const { context } = config.text;
  const all = Int32Array.from(goldenIds(config), Number);
  return [0, 1, 2].map((row) => all.slice(row * context, (row + 1) * context));
}

/** The numbers that make_blocks.py stores of a gradient: at most 44 at even distances, of the token table only rows that were looked up. */
export function sampled(name: string, gradient: Float32Array): Float32Array {
  const numbers = name.includes("token_embedding") ? gradient.filter((value) => value !== 0) : gradient;
  const step = Math.max(1, Math.floor(numbers.length / SAMPLE));
  return Float32Array.from({ length: Math.min(SAMPLE, Math.ceil(numbers.length / step)) }, (_, i) => numbers[i * step] as number);
}

/** Cosine of two gradients. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number];
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return dot / Math.sqrt(aa * bb);
}
