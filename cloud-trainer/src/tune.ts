/**
 * Retraining, from end to end: a site's labelled frames → tuned weights → bundle files → judged on held-out frames.
 * Runs in a process of its own (`kenpin tune --run FOLDER`), which holds no key and reaches no network; see tune-job.ts for
 * what lies in the run folder. Stages know nothing of one another; this file joins them.
 */
import { createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createTokenizer } from "@kenpin/clip";
import { KenpinError, type RunProgress } from "@kenpin/schema";
import { stageBundle } from "./bundle/stage.ts";
import { judgeHeldOut } from "./evaluate/held-out.ts";
import { readJsonFile } from "./json-file.ts";
import { surfacePool } from "./samples/batch.ts";
import { holdOut, readLabelled } from "./samples/labelled.ts";
import { goldenPictures } from "./samples/pictures.ts";
import { needBothLabels, tuneBatches } from "./samples/tune-batch.ts";
import { trainTune } from "./train/engines/tfjs/tune.ts";
import { TuneJob, TuneResult } from "./tune-job.ts";
import { preprocessOf, readWeightsFolder, writeWeightsFolder } from "./weights-folder.ts";

/** The recipe of this stage; its digest is part of the bundle's lineage. */
const RECIPE = {
  stage: "tune",
  optimizer: "lamb",
  rate: 0.01,
  warmup: 10,
  sizes: { crops: 16, replay: 8, frames: 6 },
  replaySurfaces: 1500,
};

export async function tune(runDir: string, tell: (progress: RunProgress) => void, note: (line: string) => void): Promise<void> {
  const job = await readJsonFile(TuneJob, join(runDir, "job.json"));
  const parent = await readWeightsFolder(job.parentModel);
  const { config } = parent;
  const say = (stage: string, step: number, steps: number) =>
    tell({ stage, step, steps, loss: null, imagesPerSecond: null, secondsLeft: null });

  say("reading the labelled frames", 0, job.samples.length);
  const frames = await readLabelled(job.samples, note);
  const { learn, judge } = holdOut(frames);
  needBothLabels(learn);
  const replay = surfacePool(job.seed, config.image.size, RECIPE.replaySurfaces, (done) =>
    say("making surfaces to replay", done, RECIPE.replaySurfaces),
  );
  const nextBatch = tuneBatches({
    config,
    preprocess: preprocessOf(parent),
    frames: learn,
    replay,
    sizes: RECIPE.sizes,
    seed: job.seed,
  });

  const metrics: string[] = [];
  const { tensors, textBias, backend, ...figures } = await trainTune({
    config,
    tensors: parent.tensors,
    tokenizer: createTokenizer(config.text),
    nextBatch,
    words: job.words,
    scoring: parent.scoring,
    rate: RECIPE.rate,
    warmup: RECIPE.warmup,
    seconds: job.budgetSeconds,
    onStep: (report) => {
      const { gradientNorm: _, ...progress } = report;
      metrics.push(JSON.stringify(report));
      tell({ stage: "training", ...progress });
    },
  });
  if (figures.skipped === figures.steps) {
    throw new KenpinError("training-diverged", "no step of the training had a finite loss; nothing was made of it");
  }
  await writeFile(join(runDir, "metrics.jsonl"), `${metrics.join("\n")}\n`);

  const modelDir = join(runDir, "model");
  const recipe = digest(JSON.stringify({ ...RECIPE, seed: job.seed, budgetSeconds: job.budgetSeconds, words: job.words, config }));
  const data = { name: "labelled frames", sha256: digest(frames.map(({ sha256 }) => sha256).sort()), images: frames.length };
  await writeWeightsFolder(modelDir, {
    ...parent,
    tensors,
    // The bias was learned with the frames' own loss, so it is measured against 0, not against references.
    scoring: { ...parent.scoring, textScale: 1, textBias, bankWeight: TUNED_BANK_WEIGHT, recentreText: false },
    thresholds: { ...parent.thresholds, chosenBy: `trained on ${learn.length} labelled frames; undecided between 0.35 and 0.65` },
    card: {
      ...parent.card,
      name: `${config.name}, run ${job.run}`,
      provenance: [
        {
          name: `${config.name}, run ${job.run}`,
          licence: "the site's own",
          source: `tuned on ${learn.length} frames labelled at the site`,
        },
        ...parent.card.provenance,
      ],
      recipe: RECIPE,
      figures,
    },
  });
  say("staging the bundle", 0, 1);
  const stagedDir = join(runDir, "staged");
  await mkdir(stagedDir, { recursive: true });
  const manifest = await stageBundle({ modelDir, words: job.words, golden: await goldenPictures(job.seed), outDir: stagedDir });
  say("judging held-out frames", 0, judge.length);
  const heldOut = await judgeHeldOut({ stagedDir, manifest }, judge, (done) => say("judging held-out frames", done, judge.length));
  const training = {
    engine: "tfjs",
    backend,
    imagesPerSecond: figures.samplesSeen / figures.seconds,
    seconds: figures.seconds,
    steps: figures.steps,
    samplesSeen: figures.samplesSeen,
  };
  const result: TuneResult = TuneResult.parse({ manifest, recipe, data: [data], training, heldOut });
  // Written last and renamed, so a result that is there is whole.
  await writeFile(join(runDir, "result.json.part"), `${JSON.stringify(result, null, 2)}\n`);
  await rename(join(runDir, "result.json.part"), join(runDir, "result.json"));
}

/** Labels have taught the words what this site calls bad; the references still have a say. */
const TUNED_BANK_WEIGHT = 0.25;

function digest(text: string | string[]): string {
  return createHash("sha256")
    .update(typeof text === "string" ? text : text.join("\n"))
    .digest("hex");
}
