/**
 * Runs one arm of the study after the other by recipes of the engine tfjs, on this machine's processor. In: an arm, a seed, a rate, and
 * the weights' folders of the arms it starts or learns from. Out: a line for runs.jsonl; the run's folder keeps the weights. A run that
 * was broken off goes on from its last checkpoint.
 */
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { createTokenizer, type ModelConfig, modelConfig } from "@kenpin/clip";
import { KenpinError, Recipe, type RunProgress } from "@kenpin/schema";
import { auroc, createRandom, mean } from "@kenpin/stats";
import { createStudent, studentConfig } from "../../cloud-trainer/src/distill/student.ts";
import { runRecipe } from "../../cloud-trainer/src/recipe/run.ts";
import { type Pictures, picturesOf, surfacePool } from "../../cloud-trainer/src/samples/batch.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { createTeacher } from "../../cloud-trainer/src/train/engines/tfjs/distill.ts";
import { readWeightsFolder, writeWeightsFolder } from "../../cloud-trainer/src/weights-folder.ts";
import { startOf } from "../../cloud-trainer/src/recipe/start.ts";
import type { Arm } from "./arms.ts";
import type { Preset } from "./presets.ts";
import { stageOf } from "./recipe.ts";
import type { Run } from "./results.ts";

const SEEDS = { train: 1, choose: 500_001, seen: 600_001 };
const LOOK_AT_ONCE = 50;
/** A frame's hottest patches, as the engine torch takes them. */
const TOP = 2;

export type Wanted = { arm: Arm; seed: number; rate: number; start: string | null; teacher: string | null };
export type Host = {
  run: (wanted: Wanted) => Promise<Run>;
  untrained: (seed: number) => Promise<Run>;
  modelOf: (arm: string, seed: number, rate: number) => string;
};

export function createHost(preset: Preset, { work, tell }: { work: string; tell: (progress: RunProgress) => void }): Host {
  const { model: name, student, pictures } = preset;
  const config = modelConfig(name);
  const pool = (seed: number) => {
    const drawn = surfacePool(seed, config.image.size, pictures.judged, () => undefined);
    return { drawn, pictures: picturesOf(drawn, config, createRandom(seed), { upright: drawn.length }) };
  };
  const pools = { choose: pool(SEEDS.choose), seen: pool(SEEDS.seen) };
  const judged = async (dir: string) => ({ choose: await look(dir, pools.choose), seen: await look(dir, pools.seen), unseen: null });
  const dirOf = (arm: string, seed: number, rate: number) => join(work, `${arm}-${seed}-${rate}`);

  return {
    modelOf: (arm, seed, rate) => join(dirOf(arm, seed, rate), "model"),
    untrained: async (seed) => {
      const began = Date.now();
      const dir = join(work, `untrained-${seed}`);
      await writeWeightsFolder(dir, await startOf({ start: { model: name }, seed }));
      return { do: "untrained", arm: "untrained", seed, rate: 0, judged: await judged(dir), ...times(began) };
    },
    run: async ({ arm, seed, rate, start, teacher }) => {
      const began = Date.now();
      const dir = dirOf(arm.id, seed, rate);
      const named = { do: "train" as const, arm: arm.id, seed, rate };
      const weights =
        start !== null && arm.isStudent && arm.stage === "train" ? await inherited(start, student.name, join(dir, "student")) : start;
      const stage = stageOf(arm, rate, { generated: { surfaces: pictures.train, seed: SEEDS.train } });
      const recipe = Recipe.parse({
        name: `study-${arm.id}`,
        seed,
        start: weights === null ? { model: name } : { weights },
        stages: [
          {
            ...stage,
            ...(stage.stage === "pretrain" && { teacher }),
            ...(stage.stage === "distill" && { student: { model: student.name } }),
          },
        ],
      });
      try {
        const { stages } = await runRecipe({ recipe, dir: join(dir, "run"), tell, note: () => undefined });
        const { done, modelDir } = stages[0] as (typeof stages)[number];
        await writeWeightsFolder(join(dir, "model"), await readWeightsFolder(modelDir));
        await rm(join(dir, "run"), { recursive: true, force: true });
        const { steps, samplesSeen: samples, seconds, skipped } = done;
        const figures = { steps, samples, seconds: round(seconds, 2), skipped, imagesPerSecond: round(samples / seconds, 1) };
        return { ...named, ...figures, ...(arm.stage !== "pretrain" && { judged: await judged(join(dir, "model")) }), ...times(began) };
      } catch (error) {
        if (!(error instanceof KenpinError)) throw error;
        return { ...named, failed: error.message, ...times(began) };
      }
    },
  };
}

function times(began: number) {
  return { began: round(began / 1000, 1), wall: round((Date.now() - began) / 1000, 2) };
}

/** A student that learns without its teacher begins as the taught ones do. */
async function inherited(start: string, student: string, dir: string): Promise<string> {
  if (await stat(join(dir, "model.safetensors")).catch(() => null)) return dir;
  const teacher = await readWeightsFolder(start);
  const config = studentConfig(teacher.config, modelConfig(student));
  await writeWeightsFolder(dir, { ...teacher, config, tensors: createStudent(teacher, config, "inherit"), tokenLayers: [0] });
  return dir;
}

type Pool = { drawn: { defect: unknown }[]; pictures: Pictures };

/** As gpu_lab.py looks: AUROC by words alone, of whole pictures, of frames and of patches. */
async function look(dir: string, { drawn, pictures }: Pool) {
  const model = await readWeightsFolder(dir);
  const { encode } = createTokenizer(model.config.text);
  const tower = await createTeacher(model);
  try {
    const direction = directionOf(model.config, tower.text(BASE_WORDS.good.map(encode)), tower.text(BASE_WORDS.bad.map(encode)));
    const each = pictures.pixelValues.length / pictures.size;
    const [images, patches]: [number[], number[]] = [[], []];
    for (let from = 0; from < pictures.size; from += LOOK_AT_ONCE) {
      const seen = tower.image(pictures.pixelValues.subarray(from * each, Math.min(pictures.size, from + LOOK_AT_ONCE) * each));
      images.push(...along(seen.imageEmbeds, direction));
      patches.push(...along(seen.patchEmbeds, direction));
    }
    const perPicture = patches.length / pictures.size;
    const hottest = images.map((_, i) =>
      mean(
        patches
          .slice(i * perPicture, (i + 1) * perPicture)
          .sort((a, b) => b - a)
          .slice(0, TOP),
      ),
    );
    const bad = drawn.map(({ defect }) => (defect ? 1 : 0));
    const sure = patches.flatMap((score, i) =>
      (pictures.patchWeights[i] as number) > 0 ? [{ score, is: pictures.patchTargets[i] as 0 | 1 }] : [],
    );
    return {
      image: round(auroc(images, bad), 4),
      frame: round(
        auroc(
          images.map((score, i) => (score + (hottest[i] as number)) / 2),
          bad,
        ),
        4,
      ),
      patches: round(
        auroc(
          sure.map(({ score }) => score),
          sure.map(({ is }) => is),
        ),
        4,
      ),
    };
  } finally {
    tower.dispose();
  }
}

/** Mean bad word less mean good word, each of length 1. */
function directionOf({ embedDim }: ModelConfig, good: Float32Array, bad: Float32Array): Float32Array {
  const unit = (words: Float32Array) => {
    const sum = new Float32Array(embedDim);
    for (let i = 0; i < words.length; i++) sum[i % embedDim] = (sum[i % embedDim] as number) + (words[i] as number);
    const length = Math.hypot(...sum);
    return sum.map((value) => value / length);
  };
  const from = unit(good);
  return unit(bad).map((value, i) => value - (from[i] as number));
}

function along(rows: Float32Array, direction: Float32Array): number[] {
  const dim = direction.length;
  return Array.from({ length: rows.length / dim }, (_, row) =>
    direction.reduce((sum, value, i) => sum + value * (rows[row * dim + i] as number), 0),
  );
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
