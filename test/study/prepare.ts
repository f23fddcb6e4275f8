/**
 * Writes all that gpu.py needs on a machine without Node, into a folder to take there:
 *
 *   plan.json               arms with their stages of recipes, models, words, pictures
 *   captions.json           every caption with its tokens and claims
 *   start-SEED.safetensors  weights drawn as a run of a recipe draws them
 *
 *   kn test/study/prepare.ts gpu runs/study/gpu
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createTokenizer, encodeSafetensors } from "@kenpin/clip";
import { captionFile } from "../../cloud-trainer/src/samples/caption-file.ts";
import { MATERIALS } from "../../cloud-trainer/src/samples/surface.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { drawTensors } from "../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { type Arm, armsOf } from "./arms.ts";
import { type Preset, PresetName, presetOf } from "./presets.ts";
import { gflopsOf, stageOf } from "./recipe.ts";

/** Apart by more than any pool draws. */
const SEEDS = { train: 1_000_000, choose: 50_000_000, seen: 60_000_000, unseen: 70_000_000 };

export async function prepare(preset: Preset, name: PresetName, dir: string): Promise<void> {
  const { student, scale } = preset;
  const base = scale.config;
  const { encode } = createTokenizer(base.text);
  const ids = (texts: string[]) => texts.map((text) => [...encode(text)]);
  const arms = armsOf(preset.scale);
  const { train, judged } = preset.pictures;
  const known = (surfaces: number, seed: number) => ({
    surfaces,
    seed,
    without: MATERIALS.map(({ name }) => name).filter((name) => !(preset.known?.includes(name) ?? !preset.unseen.includes(name))),
  });
  const plan = {
    preset: name,
    seeds: preset.seeds,
    models: { base, student },
    words: { good: ids(BASE_WORDS.good), bad: ids(BASE_WORDS.bad) },
    pools: {
      train: known(train, SEEDS.train),
      choose: known(judged, SEEDS.choose),
      seen: known(judged, SEEDS.seen),
      unseen: { surfaces: judged, seed: SEEDS.unseen, only: preset.unseen },
    },
    arms: arms.map((arm) => jobOf(arm, preset)),
  };
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "plan.json"), `${JSON.stringify(plan, null, 1)}\n`);
  await writeFile(join(dir, "captions.json"), captionFile(base));
  for (const seed of new Set([...preset.seeds, ...arms.flatMap(({ seeds }) => seeds ?? [])])) {
    await writeFile(join(dir, `start-${seed}.safetensors`), encodeSafetensors(drawTensors(base, seed), { model: base.name }));
  }
}

/** The stage at the optimizer's middle rate; gpu.py multiplies its rates. */
function jobOf(arm: Arm, { scale: { config }, student, pictures }: Preset) {
  const { id, from, teacher, isStudent, rates, ratesOf, seeds } = arm;
  const stage = stageOf(arm, 1, { generated: { surfaces: pictures.train, seed: SEEDS.train } });
  return {
    id,
    from,
    teacher,
    isStudent,
    rates,
    ratesOf,
    seeds,
    stage,
    gflops: gflopsOf(arm, { base: config, student }),
  };
}

if (import.meta.main) {
  const [name, dir] = process.argv.slice(2);
  const preset = PresetName.parse(name);
  await prepare(presetOf(preset), preset, resolve(dir ?? join("runs/study", preset)));
}
