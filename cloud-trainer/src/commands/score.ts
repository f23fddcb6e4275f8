/** `kenpin score`: chooses a model's scoring rule on generated surfaces and writes it into the weights' folder. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAtDoor } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { Command } from "commander";
import { z } from "zod";
import { stageBundle } from "../bundle/stage.ts";
import { chooseScoring } from "../evaluate/choose-scoring.ts";
import { drawEpisode, type Episode, goldenPictures } from "../samples/pictures.ts";
import { BASE_WORDS } from "../samples/words.ts";
import { ScoringFile } from "../weights-folder.ts";

const Options = z.strictObject({
  model: z.string(),
  episodes: z.coerce.number().int().min(2).max(1000),
  seed: z.coerce.number().int().min(0),
});
/** Words cannot know which of two weaves is the good one: such episodes are there for the references. */
const CHANGED_EVERY = 3;
const EPISODE = { sidePx: 250, references: 20, frames: 12 };

export function scoreCommand(): Command {
  return new Command("score")
    .description("choose how a model's similarities become one score, on generated surfaces only; writes scoring.json")
    .requiredOption("--model <dir>", "weights' folder")
    .option("--episodes <n>", "materials to choose on", "15")
    .option("--seed <n>", "the same seed draws the same surfaces", "4242")
    .action(async (given: unknown) => {
      const { model, episodes: count, seed } = parseAtDoor(Options, given, "kenpin score");
      const stagedDir = await mkdtemp(join(tmpdir(), "kenpin-score-"));
      try {
        const staged = await stageBundle({ modelDir: model, words: BASE_WORDS, golden: await goldenPictures(seed), outDir: stagedDir });
        const random = createRandom(seed);
        const episodes: Episode[] = [];
        for (let i = 0; i < count; i++)
          episodes.push(await drawEpisode(random, { ...EPISODE, changed: i % CHANGED_EVERY === CHANGED_EVERY - 1 }));
        const startedAt = Date.now();
        const { scoring, figures } = await chooseScoring({ ...staged, stagedDir }, episodes, (done, of) => {
          const left = done > 0 ? `, ${Math.ceil(((Date.now() - startedAt) / 1000) * (of / done - 1))} s left` : "";
          process.stderr.write(`materials measured: ${done} of ${of}${left}\n`);
        });
        const file = join(model, "scoring.json");
        const old = parseAtDoor(ScoringFile, JSON.parse(await readFile(file, "utf8")), file);
        const chosenBy = `logistic fit on ${figures["frames"]} generated frames of ${count} materials; undecided between 0.35 and 0.65`;
        const thresholds = { pass: 0.35, cut: 0.5, fail: 0.65, chosenBy };
        await writeFile(file, `${JSON.stringify({ ...old, scoring, thresholds }, null, 2)}\n`);
        process.stdout.write(`${JSON.stringify({ scoring, figures })}\n`);
      } finally {
        await rm(stagedDir, { recursive: true, force: true });
      }
    });
}
