/**
 * What a model in fewer bits must still do to take the float one's place. In: the report. Out: what falls short, a line
 * each; nothing when it may go out. AUROC drops are in points of 0.01.
 */
import type { QuantizationReport } from "./report.ts";

const GATE = { cosine: 0.997, imageDrop: 0.003, pixelDrop: 0.005 };

export function shortfallsOf({ vision, text }: Pick<QuantizationReport, "vision" | "text">): string[] {
  const short: string[] = [];
  const least = (what: string, value: number | null) => {
    if (value !== null && !(value >= GATE.cosine)) short.push(`${what}: cosine to float ${value.toFixed(5)}, ${GATE.cosine} expected`);
  };
  least("pictures", vision.cosine.imageMean);
  least("patches", vision.cosine.patchMean);
  least("generated pictures", vision.cosineGenerated.imageMean);
  least("texts", text?.cosine.mean ?? null);
  const drop = (what: string, auroc: { before: number; after: number } | null, most: number) => {
    if (auroc === null) return;
    const lost = auroc.before - auroc.after;
    // A model that tells nothing apart has nothing to lose, and NaN is no pass.
    if (!(lost <= most))
      short.push(`${what} AUROC ${auroc.before.toFixed(4)} → ${auroc.after.toFixed(4)}, a drop of at most ${most} expected`);
  };
  drop("image", vision.auroc.image, GATE.imageDrop);
  drop("pixel", vision.auroc.pixel, GATE.pixelDrop);
  return short;
}
