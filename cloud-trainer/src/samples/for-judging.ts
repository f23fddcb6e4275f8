/**
 * Which pictures may calibrate or judge a model: those that chance drew, with a known chance. In: pictures. Out: these, each
 * with the weight 1 / chance, so that what was drawn rarely stands for as much of the line as it does (Horvitz and Thompson
 * 1952). Pictures sent because they looked odd only train: rates counted on them say nothing of what the line makes.
 */
import { KenpinError } from "@kenpin/schema";

/** What the hub's samples and a set's pictures both say of how they were drawn. */
type Drawn = { reason: string | null; drawProbability: number | null };

export function mayJudge({ reason, drawProbability }: Drawn): boolean {
  return reason === "random" && drawProbability !== null && drawProbability > 0;
}

export function forJudging<P extends Drawn>(pictures: readonly P[]): { picture: P; weight: number }[] {
  const drawn = pictures.filter(mayJudge).map((picture) => ({ picture, weight: 1 / (picture.drawProbability as number) }));
  if (drawn.length > 0) return drawn;
  const chosen = pictures.filter(({ reason }) => reason === "chosen").length;
  throw new KenpinError(
    "nothing-to-judge-by",
    `none of ${pictures.length} pictures is known to be drawn at random (${chosen} were chosen, of the others nobody knows); ` +
      "draw some at random, record the chance of it, and label them",
  );
}
