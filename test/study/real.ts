/**
 * Real sets, by words alone and one rule fixed before any was looked at (START_SCORING). In: the weights-*.safetensors that gpu.py left,
 * and folders in MVTec layout. Out: AUROC of each model on each set, all kinds of defects together and each apart where they are few.
 * Judged by the inspector that a device runs. What was judged stays in real.jsonl: broken off, it goes on.
 */
import { appendFile, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bytesSource, type ModelConfig, readAllTensors, type Tensor } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { auroc } from "@kenpin/stats";
import { stageBundle } from "../../cloud-trainer/src/bundle/stage.ts";
import { scoreFrames } from "../../cloud-trainer/src/evaluate/score-frames.ts";
import { startScoringFile } from "../../cloud-trainer/src/import/start-scoring.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { drawTensors } from "../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { ScoringFile, writeWeightsFolder } from "../../cloud-trainer/src/weights-folder.ts";
import { armsOf } from "./arms.ts";
import type { Preset } from "./presets.ts";
import { RealSet } from "./results.ts";

type Model = { arm: string; seed: number; config: ModelConfig; tensors: Map<string, Tensor> };
type Options = { weights: string; data: string; preset: Preset; say: (line: string) => void };

/** More kinds than this are not told apart. */
const KINDS = 3;

export async function realSetsOf({ weights, data, preset, say }: Options): Promise<RealSet[]> {
  const file = join(weights, "real.jsonl");
  const known = (await readFile(file, "utf8").catch(() => ""))
    .split("\n")
    .flatMap((line) => (line.endsWith("}") ? [RealSet.parse(JSON.parse(line))] : []));
  const sets = (await readdir(data, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  if (sets.length === 0)
    throw new KenpinError("no-pictures", `${data} holds no sets: expected a folder a set, each with good/ and a folder a kind of defect`);
  for await (const model of modelsIn(weights, preset)) {
    const left = sets.filter((set) => !known.some(({ arm, seed, set: done }) => arm === model.arm && seed === model.seed && done === set));
    if (left.length === 0) continue;
    say(`${model.arm}, seed ${model.seed}: ${left.join(", ")}`);
    for (const found of await judge(model, left, data)) {
      known.push(found);
      await appendFile(file, `${JSON.stringify(found)}\n`);
    }
  }
  return known;
}

/** Weights drawn at random stand beside those that were trained. */
async function* modelsIn(dir: string, preset: Preset): AsyncGenerator<Model> {
  for (const seed of preset.seeds)
    yield { arm: "untrained", seed, config: preset.scale.config, tensors: drawTensors(preset.scale.config, seed) };
  const students = new Set(armsOf(preset.scale).flatMap(({ id, isStudent }) => (isStudent ? [id] : [])));
  for (const file of (await readdir(dir)).filter((name) => /^weights-\d+\.safetensors$/.test(name)).sort()) {
    const models = new Map<string, Model>();
    for (const [key, tensor] of await readAllTensors(bytesSource(await readFile(join(dir, file))))) {
      const [arm = "", seed = "", ...rest] = key.split("/");
      const model = models.get(`${arm}/${seed}`) ?? {
        arm,
        seed: Number(seed),
        config: students.has(arm) ? preset.student : preset.scale.config,
        tensors: new Map(),
      };
      models.set(`${arm}/${seed}`, model);
      model.tensors.set(rest.join("/"), tensor);
    }
    yield* models.values();
  }
}

async function judge({ arm, seed, config, tensors }: Model, sets: readonly string[], data: string): Promise<RealSet[]> {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-study-"));
  try {
    const [modelDir, stagedDir] = [join(dir, "model"), join(dir, "staged")];
    const card = { name: config.name, provenance: [{ name: config.name, licence: "Apache-2.0", source: "a run of the study" }] };
    await writeWeightsFolder(modelDir, { ...ScoringFile.parse(startScoringFile(config)), config, tensors, card });
    const manifest = await stageBundle({ modelDir, words: BASE_WORDS, golden: [], outDir: stagedDir });
    const found: RealSet[] = [];
    for (const set of sets) {
      const frames = await framesIn(join(data, set));
      const scores = await scoreFrames({ stagedDir, manifest }, frames, () => undefined);
      found.push({ arm, seed, set, pictures: frames.length, auroc: byKind(frames, scores) });
    }
    return found;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

type Frame = { file: string; label: "good" | "bad"; kind: string };

async function framesIn(dir: string): Promise<Frame[]> {
  const kinds = (await readdir(dir, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const frames = kinds.map(async (kind) =>
    (await readdir(join(dir, kind)))
      .sort()
      .map((name): Frame => ({ file: join(dir, kind, name), label: kind === "good" ? "good" : "bad", kind })),
  );
  return (await Promise.all(frames)).flat();
}

function byKind(frames: readonly Frame[], scores: readonly number[]): Record<string, number> {
  const area = (wanted: (frame: Frame) => boolean) => {
    const rows = frames.flatMap((frame, i) =>
      frame.label === "good" || wanted(frame)
        ? [{ score: scores[i] as number, label: frame.label === "bad" ? (1 as const) : (0 as const) }]
        : [],
    );
    return Number(
      auroc(
        rows.map(({ score }) => score),
        rows.map(({ label }) => label),
      ).toFixed(4),
    );
  };
  const kinds = [...new Set(frames.filter(({ label }) => label === "bad").map(({ kind }) => kind))].sort();
  const apart = kinds.length > 1 && kinds.length <= KINDS ? kinds : [];
  return { all: area(() => true), ...Object.fromEntries(apart.map((kind) => [kind, area((frame) => frame.kind === kind)])) };
}
