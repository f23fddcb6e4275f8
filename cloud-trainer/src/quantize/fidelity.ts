/**
 * How far a graph in fewer bits answers as the float one: embeddings by cosine, zero-shot scores by rank, and on pictures
 * whose defects are known the AUROC of pictures and of pixels, before and after. Pure but for the runs.
 */
import { meanOf, type ModelRunner, promptDirections, rawText, wordLogits } from "@kenpin/inspector";
import type { PromptSet, Scoring } from "@kenpin/schema";
import { auroc, rankCorrelation } from "@kenpin/stats";

export type Answers = { image: Float32Array[]; patches: Float32Array[]; msMedian: number };
export type Cosines = { imageMean: number; imageLeast: number; patchMean: number | null };
/** A picture of the model's own size; `mask` [S·S] is 1 where the defect is. */
export type Judged = { pixels: Float32Array; mask: Float32Array; bad: boolean };
export type Ranking = { scores: number[]; prompts: number[][]; imageAuroc: number; pixelAuroc: number | null };
type WordScoring = Pick<Scoring, "topRatio" | "imageWeight">;

/** Every third pixel each way: neighbours say the same. */
const PIXEL_STRIDE = 3;

export async function answersOf(model: ModelRunner, tiles: readonly Float32Array[], side: number): Promise<Answers> {
  const answers: Answers = { image: [], patches: [], msMedian: 0 };
  const times: number[] = [];
  for (const pixels of tiles) {
    const { tensors, ms } = await model.run({ pixel_values: { data: pixels, dims: [1, 3, side, side] } });
    answers.image.push((tensors["image_embeds"] as Float32Array).slice());
    const patches = tensors["patch_embeds"];
    if (patches) answers.patches.push(patches.slice());
    times.push(ms);
  }
  answers.msMedian = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] as number;
  return answers;
}

export function cosinesOf(before: Answers, after: Answers): Cosines {
  const dim = before.image[0]?.length as number;
  const images = before.image.map((row, i) => cosine(row, after.image[i] as Float32Array));
  const patches = before.patches.flatMap((rows, i) => cosineRows(rows, after.patches[i] as Float32Array, dim));
  return {
    imageMean: meanOf(Float32Array.from(images)),
    imageLeast: Math.min(...images),
    patchMean: patches.length > 0 ? meanOf(Float32Array.from(patches)) : null,
  };
}

/** The one number that candidates are ranked by: the worse of picture and map. */
export function fidelityOf({ imageMean, patchMean }: Cosines): number {
  return Math.min(imageMean, patchMean ?? 1);
}

export function rankingOf(answers: Answers, judged: readonly Judged[], prompts: PromptSet, scoring: WordScoring): Ranking {
  const directions = promptDirections(prompts);
  const labels = judged.map(({ bad }) => (bad ? 1 : 0));
  const maps = answers.patches.map((patches) => wordLogits(patches, directions));
  const scores = answers.image.map((image, i) => {
    const logits = wordLogits(image, directions);
    const map = maps[i];
    return map ? rawText(map, logits, scoring as Scoring) : (logits[0] as number);
  });
  const pixels = judged.flatMap(({ mask }, i) => (maps[i] ? pixelsOf(maps[i], mask) : []));
  return {
    scores,
    prompts: answers.image.map((image) => promptScores(image, prompts)),
    imageAuroc: auroc(scores, labels),
    pixelAuroc:
      pixels.length === 0
        ? null
        : auroc(
            pixels.map(({ value }) => value),
            pixels.map(({ bad }) => (bad ? 1 : 0)),
          ),
  };
}

/** Spearman's correlation of the pictures' scores, and how often the closest prompt is the same. */
export function rankAgreement(before: Ranking, after: Ranking): { scores: number; sameClosestPrompt: number } {
  const best = (row: number[]) => row.indexOf(Math.max(...row));
  const same = before.prompts.filter((row, i) => best(row) === best(after.prompts[i] as number[])).length;
  return { scores: rankCorrelation(before.scores, after.scores), sameClosestPrompt: same / before.prompts.length };
}

function promptScores(image: Float32Array, { embeddings, dim }: PromptSet): number[] {
  return Array.from({ length: embeddings.length / dim }, (_, row) =>
    image.reduce((sum, value, i) => sum + value * (embeddings[row * dim + i] as number), 0),
  );
}

/** The map stretched over the picture (bilinear between patch centres), at every few pixels. */
function pixelsOf(map: Float32Array, mask: Float32Array): { value: number; bad: boolean }[] {
  const [grid, side] = [Math.sqrt(map.length), Math.sqrt(mask.length)];
  const out: { value: number; bad: boolean }[] = [];
  const at = (row: number, column: number) =>
    map[Math.min(grid - 1, Math.max(0, row)) * grid + Math.min(grid - 1, Math.max(0, column))] as number;
  for (let y = 1; y < side; y += PIXEL_STRIDE) {
    for (let x = 1; x < side; x += PIXEL_STRIDE) {
      const [u, v] = [((x + 0.5) * grid) / side - 0.5, ((y + 0.5) * grid) / side - 0.5];
      const [column, row] = [Math.floor(u), Math.floor(v)];
      const [du, dv] = [u - column, v - row];
      const top = at(row, column) * (1 - du) + at(row, column + 1) * du;
      const bottom = at(row + 1, column) * (1 - du) + at(row + 1, column + 1) * du;
      out.push({ value: top * (1 - dv) + bottom * dv, bad: (mask[y * side + x] as number) > 0.5 });
    }
  }
  return out;
}

function cosineRows(a: Float32Array, b: Float32Array, dim: number): number[] {
  return Array.from({ length: a.length / dim }, (_, row) =>
    cosine(a.subarray(row * dim, (row + 1) * dim), b.subarray(row * dim, (row + 1) * dim)),
  );
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (const [i, value] of a.entries()) {
    const other = b[i] as number;
    dot += value * other;
    aa += value * value;
    bb += other * other;
  }
  return dot / Math.sqrt(aa * bb || 1);
}
