/** The stage `tune`, joined: a site's labelled frames, crops with synthetic defects and replayed surfaces → a tuned image tower. */
import { createTokenizer } from "@kenpin/clip";
import type { StageOf } from "@kenpin/schema";
import { surfacePool } from "../samples/batch.ts";
import { tuneBatches } from "../samples/tune-batch.ts";
import { imageGflops } from "../train/cost.ts";
import { preprocessOf } from "../weights-folder.ts";
import { counting, type RunStage, resultOf } from "./stage-context.ts";

/** Labels have taught the words what this site calls bad; the references still have a say. */
const TUNED_BANK_WEIGHT = 0.25;

export const tune: RunStage<StageOf<"tune">> = async (model, stage, { recipe, engine, data, words, setup, tell }) => {
  const { config, scoring, thresholds } = model;
  const { sizes, noiseTolerance, replaySurfaces } = stage;
  const frames = data.frames.flatMap(({ image, label }) => (label ? [{ image, label }] : []));
  const replay = surfacePool(recipe.seed, config.image.size, replaySurfaces, (done) =>
    tell(counting("making surfaces to replay", done, replaySurfaces)),
  );
  const outcome = await engine.trainTune({
    ...setup,
    tokenizer: createTokenizer(config.text),
    words,
    scoring,
    noiseTolerance,
    batchAt: tuneBatches({ config, preprocess: preprocessOf(model), frames, replay, sizes, seed: recipe.seed }),
  });
  const text = { textScale: 1, textBias: outcome.textBias };
  const tuned = {
    ...model,
    // The bias was learned with the frames' own loss, so it is measured against 0, not against references.
    scoring: { ...scoring, ...text, bankWeight: TUNED_BANK_WEIGHT, recentreText: false, patches: { ...scoring.patches, ...text } },
    thresholds: { ...thresholds, chosenBy: `trained on ${frames.length} labelled frames; undecided between 0.35 and 0.65` },
  };
  return resultOf(tuned, outcome, { trained: imageGflops(config), teacher: 0 });
};
