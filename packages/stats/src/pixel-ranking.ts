/**
 * Ranks the pixels of many frames, good against defective, in memory that does not grow with them.
 * In: a frame's anomaly map, float32, higher is worse, and its ground truth of the same size. Out: AUROC over all pixels, and
 * the area under per-region overlap against false positive rate, exact while the values that differ number at most `limit`;
 * past that neighbours share a step (the lowest bits of their order are dropped), and `isExact` says so.
 * Per-region overlap as in MVTec AD (Bergmann et al. 2021, IJCV 129, section 5.2) and its official evaluation: regions are pixels
 * connected by a side or a corner; each region counts alike, whatever its size; false positives are counted over the pixels of
 * all frames that are not defective; between two thresholds the curve is a straight line; the area is divided by its width.
 */
import { connectedRegions } from "./connected-regions.ts";
import { sortByKey } from "./radix-sort.ts";

/** `mask`: anything but 0 is defective; null where the whole frame is good. */
export type PixelFrame = { values: Float32Array; mask: Uint8Array | null; width: number; height: number };
export type PixelRanking = {
  add: (frame: PixelFrame) => void;
  /** NaN without pixels of both kinds. */
  auroc: () => number;
  /** In [0, 1]; NaN without a region or without a good pixel. */
  perRegionOverlap: (maxFalsePositiveRate?: number) => number;
  /** Defective regions seen so far. */
  regions: () => number;
  isExact: () => boolean;
};

/** One value each, in rising order: how many good and defective pixels have it, and what share of regions they cover. */
type Steps = { keys: Uint32Array; good: Float64Array; bad: Float64Array; overlap: Float64Array };

/** 2 million steps are 56 MB, and finer than a hundredth of a per cent of any map. */
const LIMIT = 2 ** 21;
/** What MVTec AD integrates to. */
const MAX_FALSE_POSITIVE_RATE = 0.3;

export function createPixelRanking({ limit = LIMIT }: { limit?: number } = {}): PixelRanking {
  let steps = emptySteps(0);
  let waiting: Steps[] = [];
  let waitingCount = 0;
  let droppedBits = 0;
  let regions = 0;

  /** Merging each frame at once would walk through all steps for each. */
  const settle = () => {
    steps = mergeAll([steps, ...waiting], droppedBits);
    [waiting, waitingCount] = [[], 0];
    while (steps.keys.length > limit) steps = mergeAll([steps], ++droppedBits);
  };
  const add = (frame: PixelFrame) => {
    const found = stepsOf(frame);
    regions += found.regions;
    waiting.push(found.steps);
    waitingCount += found.steps.keys.length;
    if (waitingCount > limit) settle();
  };
  const settled = () => {
    if (waiting.length > 0) settle();
    return steps;
  };
  return {
    add,
    auroc: () => areaOf(settled()),
    perRegionOverlap: (most = MAX_FALSE_POSITIVE_RATE) => overlapArea(settled(), regions, most),
    regions: () => regions,
    isExact: () => settled() && droppedBits === 0,
  };
}

function stepsOf({ values, mask, width, height }: PixelFrame): { steps: Steps; regions: number } {
  const count = width * height;
  if (values.length !== count || (mask && mask.length !== count)) {
    throw new RangeError(`expected ${width} × ${height} pixels, got ${values.length} values and a mask of ${mask?.length ?? "none"}`);
  }
  const { labels, sizes } = mask ? connectedRegions(mask, width, height) : { labels: null, sizes: [] };
  const { keys, order } = sortByKey(orderedKeys(values));
  const steps = emptySteps(distinct(keys));
  let step = -1;
  for (let i = 0; i < count; i++) {
    if (i === 0 || keys[i] !== keys[i - 1]) steps.keys[++step] = keys[i] as number;
    const region = labels ? (labels[order[i] as number] as number) : 0;
    if (region === 0) steps.good[step] = (steps.good[step] as number) + 1;
    else {
      steps.bad[step] = (steps.bad[step] as number) + 1;
      steps.overlap[step] = (steps.overlap[step] as number) + 1 / (sizes[region - 1] as number);
    }
  }
  return { steps, regions: sizes.length };
}

/** A float's bits as an unsigned number of the same order. */
function orderedKeys(values: Float32Array): Uint32Array {
  const plain = values.map((value) => value + 0); // −0 is 0
  const keys = new Uint32Array(plain.buffer);
  for (let i = 0; i < keys.length; i++) {
    const bits = keys[i] as number;
    if ((bits & 0x7fffffff) > 0x7f800000) throw new RangeError("an anomaly map holds NaN");
    keys[i] = bits & 0x80000000 ? ~bits : bits | 0x80000000;
  }
  return keys;
}

function distinct(sorted: Uint32Array): number {
  let count = sorted.length > 0 ? 1 : 0;
  for (let i = 1; i < sorted.length; i++) count += Number(sorted[i] !== sorted[i - 1]);
  return count;
}

function emptySteps(length: number): Steps {
  return {
    keys: new Uint32Array(length),
    good: new Float64Array(length),
    bad: new Float64Array(length),
    overlap: new Float64Array(length),
  };
}

/** Pairs of neighbours first, so that each step is copied only log(parts) times. */
function mergeAll(parts: Steps[], droppedBits: number): Steps {
  let level = parts.filter(({ keys }) => keys.length > 0);
  if (level.length === 1) level = [level[0] as Steps, emptySteps(0)];
  while (level.length > 1) {
    const next: Steps[] = [];
    for (let i = 0; i < level.length; i += 2) next.push(merged(level[i] as Steps, level[i + 1] ?? emptySteps(0), droppedBits));
    level = next;
  }
  return level[0] ?? emptySteps(0);
}

function merged(a: Steps, b: Steps, droppedBits: number): Steps {
  const out = emptySteps(a.keys.length + b.keys.length);
  const whole = (key: number) => (droppedBits === 0 ? key : ((key >>> droppedBits) << droppedBits) >>> 0);
  let [i, j, step] = [0, 0, -1];
  while (i < a.keys.length || j < b.keys.length) {
    const fromA = j >= b.keys.length || (i < a.keys.length && (a.keys[i] as number) <= (b.keys[j] as number));
    const [source, at] = fromA ? [a, i++] : [b, j++];
    const key = whole(source.keys[at] as number);
    if (step < 0 || out.keys[step] !== key) out.keys[++step] = key;
    out.good[step] = (out.good[step] as number) + (source.good[at] as number);
    out.bad[step] = (out.bad[step] as number) + (source.bad[at] as number);
    out.overlap[step] = (out.overlap[step] as number) + (source.overlap[at] as number);
  }
  const cut = <T extends Uint32Array | Float64Array>(array: T) => array.slice(0, step + 1) as T;
  return { keys: cut(out.keys), good: cut(out.good), bad: cut(out.bad), overlap: cut(out.overlap) };
}

/** Mann-Whitney: each good pixel against the defective ones above it, those of the same value counting half. */
function areaOf({ good, bad }: Steps): number {
  let [above, goodCount, sum] = [0, 0, 0];
  for (let i = good.length - 1; i >= 0; i--) {
    sum += (good[i] as number) * (above + (bad[i] as number) / 2);
    above += bad[i] as number;
    goodCount += good[i] as number;
  }
  return sum / (above * goodCount);
}

function overlapArea({ good, overlap }: Steps, regions: number, most: number): number {
  const goodCount = good.reduce((sum, value) => sum + value, 0);
  if (regions === 0 || goodCount === 0) return Number.NaN;
  let [x, y, area] = [0, 0, 0];
  for (let i = good.length - 1; i >= 0; i--) {
    const nextX = x + (good[i] as number) / goodCount;
    const nextY = Math.min(1, y + (overlap[i] as number) / regions);
    if (nextX > most) {
      const atMost = y + ((nextY - y) * (most - x)) / (nextX - x);
      return (area + ((y + atMost) / 2) * (most - x)) / most;
    }
    area += ((y + nextY) / 2) * (nextX - x);
    [x, y] = [nextX, nextY];
  }
  // Every pixel is above the last threshold: sums of parts may end a rounding short of 1.
  return (area + y * (Math.max(most, x) - x)) / most;
}
