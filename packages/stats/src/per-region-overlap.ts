/**
 * The area under the per-region overlap curve up to a false positive rate, MVTec AD's AU-PRO: see pixel-ranking.ts, which
 * takes frames one by one. In: frames with their maps and ground truth. Out: [0, 1], NaN without a defective region.
 */
import { createPixelRanking, type PixelFrame } from "./pixel-ranking.ts";

export function perRegionOverlap(
  frames: Iterable<PixelFrame>,
  { maxFalsePositiveRate = 0.3 }: { maxFalsePositiveRate?: number } = {},
): number {
  const ranking = createPixelRanking();
  for (const frame of frames) ranking.add(frame);
  return ranking.perRegionOverlap(maxFalsePositiveRate);
}
