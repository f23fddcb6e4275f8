/**
 * Judges that an evaluation makes itself: the same architecture with random weights, as a control, and a model trained again on each
 * seed's exemplars. In: an opened bundle that has its weights. Out: judges like the bundle's own.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KenpinError, type PartWords } from "@kenpin/schema";
import { stageBundle } from "./bundle/stage.ts";
import { type BundleJudge, openJudge } from "./evaluate/bundle-judge.ts";
import { randomWeights } from "./evaluate/random-weights.ts";
import type { JudgeFor } from "./evaluate/seed-run.ts";
import { readJsonFile } from "./json-file.ts";
import type { OpenedBundle } from "./opened-bundle.ts";
import { goldenPictures } from "./samples/pictures.ts";
import { type TuneJob, TuneResult } from "./tune-job.ts";
import { readWeightsFolder, writeWeightsFolder } from "./weights-folder.ts";

export async function openRandomJudge(bundle: OpenedBundle, { words, seed }: { words: PartWords; seed: number }): Promise<BundleJudge> {
  const weightsDir = weightsOf(bundle, "random weights of the same architecture");
  return inFolder(async (folder) => {
    const weights = await readWeightsFolder(weightsDir);
    const [modelDir, outDir] = [join(folder, "model"), join(folder, "staged")];
    await writeWeightsFolder(modelDir, { ...weights, tensors: randomWeights(weights.config, seed) });
    await mkdir(outDir);
    const manifest = await stageBundle({ modelDir, words, golden: await goldenPictures(seed), outDir });
    await writeFile(join(outDir, "manifest.json"), JSON.stringify(manifest));
    return openJudge(outDir, { keepSights: true });
  });
}

/** All four stages of a retraining, on the exemplars alone; then the new bundle is taught by them like any other. */
export function retrainedJudge(
  bundle: OpenedBundle,
  { words, seconds, onNote }: { words: PartWords; seconds: number; onNote: (line: string) => void },
): JudgeFor {
  const parentModel = weightsOf(bundle, "retraining");
  return (exemplars, seed) =>
    inFolder(async (folder) => {
      const samples: TuneJob["samples"] = [];
      for (const { sha256, label, bytes } of exemplars) {
        const file = join(folder, sha256);
        await writeFile(file, await bytes());
        // What is known to be chosen only trains: none of the exemplars is held out.
        samples.push({ file, sha256, label, reason: "surprising", drawProbability: 1 });
      }
      const job: TuneJob = { run: `seed-${seed}`, parentModel, words, samples, budgetSeconds: seconds, seed };
      await writeFile(join(folder, "job.json"), JSON.stringify(job));
      const { tune } = await import("./tune.ts"); // loads a whole training engine
      await tune(folder, () => {}, onNote);
      const { manifest } = await readJsonFile(TuneResult, join(folder, "result.json"));
      await writeFile(join(folder, "staged/manifest.json"), JSON.stringify(manifest));
      return openJudge(join(folder, "staged"), { keepSights: false });
    });
}

function weightsOf({ weightsDir, name }: OpenedBundle, what: string): string {
  if (weightsDir !== null) return weightsDir;
  throw new KenpinError(
    "weights-missing",
    `${name} is a bundle, which holds no weights to train or draw: for ${what} name the folder of weights it came from`,
  );
}

/** The folder goes when the judge is closed. */
async function inFolder(open: (folder: string) => Promise<BundleJudge>): Promise<BundleJudge> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-judge-"));
  const forget = () => rm(folder, { recursive: true, force: true });
  try {
    const judge = await open(folder);
    const close = async () => {
      await judge.close();
      await forget();
    };
    return { ...judge, close };
  } catch (error) {
    await forget();
    throw error;
  }
}
