/**
 * Retraining, from end to end: a site's labelled frames → all four stages of the recipe → student or teacher, whichever the
 * gate lets through → 8 bits, if that costs nothing → bundle files → judged on held-out frames.
 * Runs in a process of its own (`kenpin tune --run FOLDER`), which holds no key and reaches no network; see tune-job.ts for
 * what lies in the run folder. Stages know nothing of one another; recipe/ and this file join them.
 */
import { createHash } from "node:crypto";
import { copyFile, cp, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Recipe, RunProgress, Stage } from "@kenpin/schema";
import { stageBundle } from "./bundle/stage.ts";
import { alignScores } from "./evaluate/align-scores.ts";
import { judgeHeldOut } from "./evaluate/held-out.ts";
import { type HeldOutFrame, scoreFrames } from "./evaluate/score-frames.ts";
import { passGate } from "./evaluate/student-gate.ts";
import { readJsonFile } from "./json-file.ts";
import { judgingInputs } from "./judging-inputs.ts";
import { quantizeModel } from "./quantize/quantize-model.ts";
import { readRecipe } from "./recipe/recipe-file.ts";
import { runRecipe, type StageDone } from "./recipe/run.ts";
import { counting } from "./recipe/stage-context.ts";
import { holdOut, readLabelled } from "./samples/labelled.ts";
import { goldenPictures } from "./samples/pictures.ts";
import { needBothLabels } from "./samples/tune-batch.ts";
import { TuneJob, TuneResult } from "./tune-job.ts";
import { readWeightsFolder, writeWeightsFolder } from "./weights-folder.ts";

const RECIPE = join(import.meta.dirname, "../recipes/retrain.yaml");

export async function tune(runDir: string, tell: (progress: RunProgress) => void, note: (line: string) => void): Promise<void> {
  const job = await readJsonFile(TuneJob, join(runDir, "job.json"));
  const say = (stage: string, step: number, steps: number) => tell(counting(stage, step, steps));

  say("reading the labelled frames", 0, job.samples.length);
  const frames = await readLabelled(job.samples, note);
  const { learn, judge } = holdOut(frames);
  needBothLabels(learn);
  const recipe = await recipeFor(job);
  const data = { name: "labelled frames", sha256: digest(frames.map(({ sha256 }) => sha256).sort()), images: frames.length };
  const { stages } = await runRecipe({
    recipe,
    dir: join(runDir, "training"),
    siteFrames: { frames: learn.map(({ image, label, sha256 }) => ({ image, label, sha256, captions: [] })), lineage: [data] },
    tell,
    note,
  });

  const { teacher, student } = await stageBoth(stages, { job, runDir, learn, say });
  const gate = await passGate({ teacher, student }, frames, (done, of) => say("comparing student and teacher", done, of));
  const chosen = gate.passed ? student : teacher;
  const int8 = await inEightBits(chosen, { job, runDir, learn, say });
  const { stagedDir, modelDir, manifest } = int8.bundle ?? chosen;
  await rename(stagedDir, join(runDir, "staged"));
  await cp(modelDir, join(runDir, "model"), { recursive: true });
  say("judging held-out frames", 0, judge.length);
  const heldOut = await judgeHeldOut({ stagedDir: join(runDir, "staged"), manifest }, judge, (done) =>
    say("judging held-out frames", done, judge.length),
  );
  const parameters = { teacher: teacher.manifest.parameters, student: student.manifest.parameters };
  const { passed: shipped, ...compared } = gate;
  const training = { ...figuresOf(stages), student: { shipped, ...compared, parameters }, int8: int8.figures };
  const result: TuneResult = TuneResult.parse({ manifest, recipe: digest(JSON.stringify(recipe)), data: [data], training, heldOut });
  // Written last and renamed, so a result that is there is whole.
  await writeFile(join(runDir, "result.json.part"), `${JSON.stringify(result, null, 2)}\n`);
  await rename(join(runDir, "result.json.part"), join(runDir, "result.json"));
}

/** The ready recipe, from the parent's weights, its seconds scaled to the budget. */
async function recipeFor({ run, parentModel, words, budgetSeconds, seed }: TuneJob): Promise<Recipe> {
  const recipe = await readRecipe(RECIPE);
  const planned = recipe.stages.reduce((sum, { seconds = 0 }) => sum + seconds, 0);
  const scaled = (stage: Stage): Stage => ({ ...stage, seconds: Math.max(1, ((stage.seconds ?? 0) * budgetSeconds) / planned) });
  const own = { name: `retraining ${run}`, licence: "the site's own", seed, words, start: { weights: parentModel } };
  return { ...recipe, ...own, stages: recipe.stages.map(scaled) };
}

type Ran = Awaited<ReturnType<typeof runRecipe>>["stages"];
type Staging = { job: TuneJob; runDir: string; learn: readonly HeldOutFrame[]; say: (stage: string, step: number, steps: number) => void };

/** The recipe ends with the teacher, tuned, and the student it taught, whose scores are laid over its teacher's. */
async function stageBoth(stages: Ran, { job, runDir, learn, say }: Staging) {
  const golden = await goldenPictures(job.seed);
  const stage = async (name: string, modelDir: string) => {
    const stagedDir = join(runDir, name);
    await rm(stagedDir, { recursive: true, force: true });
    await mkdir(stagedDir, { recursive: true });
    return { modelDir, stagedDir, manifest: await stageBundle({ modelDir, words: job.words, golden, outDir: stagedDir }) };
  };
  const [tuned, distilled] = stages.slice(-2) as [Ran[0], Ran[0]];
  say("staging the bundle", 0, 3);
  const teacher = await stage("teacher", tuned.modelDir);
  say("staging the bundle", 1, 3);
  const raw = await stage("student", distilled.modelDir);
  const ignore = () => undefined;
  const { scale, shift } = alignScores(await scoreFrames(teacher, learn, ignore), await scoreFrames(raw, learn, ignore));
  const model = await readWeightsFolder(distilled.modelDir);
  const { textScale, textBias } = raw.manifest.scoring;
  const scoring = { ...raw.manifest.scoring, textScale: textScale * scale, textBias: textBias * scale + shift };
  await writeWeightsFolder(distilled.modelDir, { ...model, scoring });
  say("staging the bundle", 2, 3);
  return { teacher, student: await stage("student", distilled.modelDir) };
}

/**
 * The chosen model in 8 bits, calibrated on the site's own frames, if it loses next to nothing; otherwise the float one goes
 * out, and the reasons are kept. Seven bits of each weight are used: on processors without VNNI eight can saturate, and one
 * bundle serves a whole fleet.
 */
async function inEightBits(float: Awaited<ReturnType<typeof stageBoth>>["teacher"], { job, runDir, learn, say }: Staging) {
  const [calibration, out] = [join(runDir, "calibration"), join(runDir, "int8")];
  await Promise.all([calibration, out].map((dir) => rm(dir, { recursive: true, force: true })));
  await mkdir(calibration);
  for (const [i, { file }] of learn.slice(0, CALIBRATION_FRAMES).entries()) await copyFile(file, join(calibration, `${i}.png`));
  say("8 bits", 0, 1);
  const report = await quantizeModel({
    ...judgingInputs(JUDGED),
    model: float.modelDir,
    out,
    scheme: "int8-dynamic",
    towers: ["vision"],
    calibration,
    weights: { type: "int8", bits: 7 },
    images: CALIBRATION_FRAMES,
    budget: { evaluations: 6, target: 0.997, sizeRatio: 0.3 },
    onProgress: () => undefined,
  });
  const { vision, shortfalls } = report;
  const figures = {
    shipped: shortfalls.length === 0,
    shortfalls,
    cosine: vision.cosine.imageMean,
    bytesRatio: vision.bytes.ratio,
    tileMs: vision.ms,
  };
  if (!figures.shipped) return { bundle: null, figures };
  const stagedDir = join(runDir, "eight-bits");
  await rm(stagedDir, { recursive: true, force: true });
  await mkdir(stagedDir);
  const golden = await goldenPictures(job.seed);
  const int8Graph = join(out, "vision.onnx");
  const manifest = await stageBundle({ modelDir: float.modelDir, words: job.words, golden, outDir: stagedDir, int8Graph });
  return { bundle: { stagedDir, modelDir: float.modelDir, manifest }, figures };
}

const CALIBRATION_FRAMES = 32;
/** Fewer would have the gate decide by chance: the drops it allows are of a few pairs of pictures. */
const JUDGED = 400;

function figuresOf(stages: Ran) {
  const sum = (of: (done: StageDone) => number) => stages.reduce((total, { done }) => total + of(done), 0);
  const [seconds, samplesSeen] = [sum((done) => done.seconds), sum((done) => done.samplesSeen)];
  return {
    engine: "tfjs",
    backend: stages[0]?.done.backend ?? "none",
    imagesPerSecond: samplesSeen / seconds,
    seconds,
    steps: sum((done) => done.steps),
    samplesSeen,
    stages: stages.map(({ done: { stage, steps, seconds: took, samplesSeen: seen, gflops } }) => ({
      stage,
      steps,
      seconds: took,
      samplesSeen: seen,
      gflops,
    })),
  };
}

function digest(text: string | string[]): string {
  return createHash("sha256")
    .update(typeof text === "string" ? text : text.join("\n"))
    .digest("hex");
}
