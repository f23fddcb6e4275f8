/**
 * Which pictures may calibrate or judge a model: those that chance drew, with a known chance. In: pictures. Out: these, each
 * with the weight 1 / chance, so that what was drawn rarely stands for as much of the line as it does (Horvitz and Thompson
 * 1952). Pictures sent because they looked odd only train: rates counted on them say nothing of what the line makes.
 */
import { KenpinError } from "@kenpin/schema";
import type { Picture } from "./picture.ts";

export type Judging = { picture: Picture; weight: number };

export function forJudging(pictures: readonly Picture[]): Judging[] {
  const drawn = pictures.flatMap((picture): Judging[] => {
    const { reason, drawProbability } = picture;
    return reason === "random" && drawProbability !== null && drawProbability > 0 ? [{ picture, weight: 1 / drawProbability }] : [];
  });
  if (drawn.length > 0) return drawn;
  const chosen = pictures.filter(({ reason }) => reason === "chosen").length;
  throw new KenpinError(
    "nothing-to-judge-by",
    `none of ${pictures.length} pictures is known to be drawn at random (${chosen} were chosen, of the others nobody knows); ` +
      "draw some at random, record the chance of it, and label them",
  );
}
