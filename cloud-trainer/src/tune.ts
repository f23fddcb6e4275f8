/**
 * Retraining, from end to end: a site's labelled frames → all four stages of the recipe → student or teacher, whichever the
 * gate lets through → 8 bits, if that costs nothing → bundle files → judged on held-out frames.
 * Runs in a process of its own (`kenpin tune --run FOLDER`), which holds no key and reaches no network; see tune-job.ts for
 * what lies in the run folder. Stages know nothing of one another; recipe/ and this file join them.
 */
import { createHash } from "node:crypto";
import { cp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Recipe, RunProgress, Stage } from "@kenpin/schema";
import { chooseBundle } from "./choose-bundle.ts";
import { calibrate } from "./evaluate/calibrate.ts";
import { judgeHeldOut } from "./evaluate/held-out.ts";
import { readJsonFile } from "./json-file.ts";
import { readRecipe } from "./recipe/recipe-file.ts";
import { runRecipe, type StageDone } from "./recipe/run.ts";
import { counting } from "./recipe/stage-context.ts";
import { holdOut, readLabelled } from "./samples/labelled.ts";
import { needBothLabels } from "./samples/tune-batch.ts";
import { TuneJob, TuneResult } from "./tune-job.ts";

const RECIPE = join(import.meta.dirname, "../recipes/retrain.yaml");

export async function tune(runDir: string, tell: (progress: RunProgress) => void, note: (line: string) => void): Promise<void> {
  const job = await readJsonFile(TuneJob, join(runDir, "job.json"));
  const say = (stage: string, step: number, steps: number) => tell(counting(stage, step, steps));

  say("reading the labelled frames", 0, job.samples.length);
  const frames = await readLabelled(job.samples, note);
  const { learn, calibrate: setCuts, judge } = holdOut(frames);
  needBothLabels(learn);
  const recipe = await recipeFor(job);
  // What was held out has taught nothing and is no part of the bundle's lineage.
  const learned = { name: "labelled frames", sha256: digest(learn.map(({ sha256 }) => sha256).sort()), images: learn.length };
  const { stages } = await runRecipe({
    recipe,
    dir: join(runDir, "training"),
    siteFrames: { frames: learn.map(({ image, label, sha256 }) => ({ image, label, sha256, captions: [] })), lineage: [learned] },
    tell,
    note,
  });

  const { stagedDir, modelDir, manifest, compared } = await chooseBundle(
    stages.slice(-2).map(({ modelDir: dir }) => dir),
    {
      words: job.words,
      seed: job.seed,
      runDir,
      learn,
      say,
    },
  );
  await place(stagedDir, join(runDir, "staged"));
  await place(modelDir, join(runDir, "model"));
  const bundle = { stagedDir: join(runDir, "staged"), manifest };
  await calibrate(bundle, setCuts, (done) => say("setting the cuts", done, setCuts.length));
  say("judging held-out frames", 0, judge.length);
  const heldOut = await judgeHeldOut(bundle, judge, (done) => say("judging held-out frames", done, judge.length));
  const training = { ...figuresOf(recipe, stages), ...compared };
  const result: TuneResult = TuneResult.parse({ manifest, recipe: digest(JSON.stringify(recipe)), data: [learned], training, heldOut });
  // Written last and renamed, so a result that is there is whole.
  await writeFile(join(runDir, "result.json.part"), `${JSON.stringify(result, null, 2)}\n`);
  await rename(join(runDir, "result.json.part"), join(runDir, "result.json"));
}

/** A copy: what a run that was cut off here has put there before is replaced. */
async function place(from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await cp(from, to, { recursive: true });
}

/** The ready recipe, from the parent's weights, its seconds scaled to the budget. */
async function recipeFor({ run, parentModel, words: { good, bad }, budgetSeconds, seed }: TuneJob): Promise<Recipe> {
  const recipe = await readRecipe(RECIPE);
  const planned = recipe.stages.reduce((sum, { seconds = 0 }) => sum + seconds, 0);
  const scaled = (stage: Stage): Stage => ({ ...stage, seconds: Math.max(1, ((stage.seconds ?? 0) * budgetSeconds) / planned) });
  const own = { name: `retraining ${run}`, licence: "the site's own", seed, words: { good, bad }, start: { weights: parentModel } };
  return { ...recipe, ...own, stages: recipe.stages.map(scaled) };
}

function figuresOf({ engine }: Recipe, stages: Awaited<ReturnType<typeof runRecipe>>["stages"]) {
  const sum = (of: (done: StageDone) => number) => stages.reduce((total, { done }) => total + of(done), 0);
  const [seconds, samplesSeen] = [sum((done) => done.seconds), sum((done) => done.samplesSeen)];
  return {
    engine,
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
