/**
 * The four stages on PyTorch, as the engine tfjs offers them: each says what its batches hold, by the names the Python side
 * reads, and what else it must know (word ids, a teacher, a site's scoring rule).
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createTokenizer, type ModelConfig, type Tensor, type Tokenizer } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import type { Engine } from "../engine.ts";
import type { BatchTensor } from "./batch-file.ts";
import { runTorchStage, type TorchOptions, writeWeights } from "./stage.ts";

type Batch = Record<string, BatchTensor>;

export function createTorchEngine(options: TorchOptions): Engine {
  return {
    trainContrastive: async ({ batchAt, tokenizer, words, loss, patchLoss, microBatch, shards, generated, references, ...setup }) => {
      const captions = join(setup.folder?.dir as string, "captions.json");
      if (generated) await writeFile(captions, generated.captions);
      const { loss: referenceLoss, tokenLayers } = references;
      return runTorchStage(options, {
        stage: "train",
        setup,
        parts: {
          words: wordIds(tokenizer, words),
          recipe: { ...setup.recipe, loss, patchLoss, microBatch, referenceLoss, tokenLayers },
          ...(shards && { data: { shards } }),
          ...(generated && { data: { generated: { ...generated, captions } } }),
        },
        draw: async (draw, progress) => {
          const batch = await batchAt(draw, progress);
          const [rows, columns] = [batch.size, batch.captions.length];
          const { positive, blocked } = batch.relations({ from: 0, to: rows }, { from: 0, to: columns });
          const perPicture = (data: Float32Array | Int32Array): BatchTensor => ({ shape: [rows, data.length / rows], data });
          return {
            pixel_values: pixels(setup.config, batch.pixelValues),
            ids: ids(tokenizer, batch.captions),
            ...relations(rows, columns, positive, blocked),
            ...(batch.kept && { kept: perPicture(batch.kept) }),
            ...(batch.patches && { patch_targets: perPicture(batch.patches.targets), patch_weights: perPicture(batch.patches.weights) }),
          };
        },
      });
    },

    trainMasked: async ({ batchAt, target, ...setup }) => {
      const dir = setup.folder?.dir as string;
      const teacher = "tensors" in target ? { config: target.config, weights: join(dir, "teacher-start.safetensors") } : target;
      if ("tensors" in target) await writeWeights(join(dir, "teacher-start.safetensors"), target.tensors, target.config);
      const patches = patchesOf(setup.config);
      return runTorchStage(options, {
        stage: "pretrain",
        setup,
        own: maskHead(setup.config, "tensors" in target ? target.config.image.width : target.length, setup.seed),
        parts: { teacher },
        draw: async (draw) => {
          const { size, pixelValues, masked, targets } = await batchAt(draw);
          const wanted: Batch = targets ? { targets: { shape: [size, patches, targets.length / (size * patches)], data: targets } } : {};
          return { pixel_values: pixels(setup.config, pixelValues), masked: { shape: [size, patches], data: masked }, ...wanted };
        },
      });
    },

    trainTune: async ({ batchAt, tokenizer, words, scoring, noiseTolerance, ...setup }) => {
      const { topRatio, imageWeight } = scoring;
      const outcome = await runTorchStage(options, {
        stage: "tune",
        setup,
        parts: {
          words: wordIds(tokenizer, words),
          scoring: { topRatio, imageWeight },
          recipe: { ...setup.recipe, noiseTolerance },
        },
        draw: async (draw) => {
          const { masked, frames } = await batchAt(draw);
          const pixelValues = new Float32Array(masked.pixelValues.length + frames.pixelValues.length);
          pixelValues.set(masked.pixelValues);
          pixelValues.set(frames.pixelValues, masked.pixelValues.length);
          const { captions, positive, blocked } = masked.replay;
          const perPatch = (data: Float32Array): BatchTensor => ({ shape: [masked.size, data.length / masked.size], data });
          return {
            pixel_values: pixels(setup.config, pixelValues),
            patch_targets: perPatch(masked.patchTargets),
            patch_weights: perPatch(masked.patchWeights),
            crop_is_bad: flags(masked.cropIsBad),
            frame_is_bad: flags(frames.isBad),
            ...(captions.length > 0 && {
              ids: ids(tokenizer, captions),
              ...relations(masked.size - masked.crops, captions.length, positive, blocked),
            }),
          };
        },
      });
      return { ...outcome, textBias: outcome.extra.get("frame_bias")?.data[0] as number };
    },

    trainDistill: async ({ batchAt, teacher, words, terms, microBatch, ...setup }) => {
      const weights = join(setup.folder?.dir as string, "teacher-start.safetensors");
      await writeWeights(weights, teacher.tensors, teacher.config);
      const tokenizer = createTokenizer(teacher.config.text);
      return runTorchStage(options, {
        stage: "distill",
        setup,
        parts: {
          teacher: { config: teacher.config, weights },
          words: wordIds(tokenizer, words.texts),
          recipe: { ...setup.recipe, terms, microBatch },
        },
        draw: async (draw) => {
          const { size, pixelValues, captions, positive, blocked } = batchAt(draw);
          return {
            pixel_values: pixels(setup.config, pixelValues),
            ...(captions.length > 0 && { ids: ids(tokenizer, captions), ...relations(size, captions.length, positive, blocked) }),
          };
        },
      });
    },
    /** In Python the teacher looks at each batch as it comes: on a GPU that costs less than to store what it sees. */
    storesTeacher: false,
    readsShards: true,
  };
}

function pixels({ image: { size } }: ModelConfig, data: Float32Array): BatchTensor {
  return { shape: [data.length / (3 * size * size), 3, size, size], data };
}

function patchesOf({ image: { size, patch } }: ModelConfig): number {
  return (size / patch) ** 2;
}

function ids(tokenizer: Tokenizer, texts: readonly string[]): BatchTensor {
  const rows = texts.map(tokenizer.encode);
  const length = rows[0]?.length;
  if (length === undefined) throw new KenpinError("no-captions", "a batch without captions has no contrast");
  const data = new Int32Array(rows.length * length);
  for (const [i, row] of rows.entries()) data.set(row, i * length);
  return { shape: [rows.length, length], data };
}

function wordIds({ encode }: Tokenizer, { good, bad }: { good: string[]; bad: string[] }): { good: number[][]; bad: number[][] } {
  return { good: good.map((text) => [...encode(text)]), bad: bad.map((text) => [...encode(text)]) };
}

function relations(rows: number, columns: number, positive: Float32Array, blocked: Float32Array): Batch {
  return {
    positive: { shape: [rows, columns], data: Uint8Array.from(positive) },
    blocked: { shape: [rows, columns], data: Uint8Array.from(blocked) },
  };
}

function flags(values: boolean[]): BatchTensor {
  return { shape: [values.length], data: Uint8Array.from(values, Number) };
}

/** Drawn as the engine tfjs draws them, so that both begin alike. */
function maskHead({ image: { width } }: ModelConfig, length: number, seed: number): Map<string, Tensor> {
  const drawn = (shape: number[], from: number): Tensor => {
    const { normal } = createRandom(from);
    return { shape, data: Float32Array.from({ length: shape.reduce((product, n) => product * n, 1) }, () => normal() * 0.02) };
  };
  return new Map([
    ["mask_token", drawn([1, 1, width], seed)],
    ["mim_head.weight", drawn([length, width], seed + 1)],
    ["mim_head.bias", { shape: [length], data: new Float32Array(length) }],
  ]);
}
