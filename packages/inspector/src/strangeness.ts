/**
 * Whether a frame shows something else than was taught, rather than a part with a defect: a defect leaves at least a quarter of the
 * patches alone, another product, an empty belt or a lid leaves none. In: patches' distances to the bank of good ones. Out: how
 * strange the calmest quarter is; from 1 on more than any good frame: both LEAST_RATIO times as far as the references' own, on average,
 * and further than one good frame in 10,000 would be by chance (Student's prediction limit for one more of n). Pure.
 */
import { toleranceFactor } from "@kenpin/stats";
import { momentsOf } from "./score.ts";

/** Distances of the calmest quarter: of the references on average, and from where on a frame is of something else. */
export type Calm = { mean: number; limit: number };

const CALM_SHARE = 0.25;
/** References of one product under one light are so alike that by their deviation alone a speck of dust on the lens were strange. */
const LEAST_RATIO = 1.3;
const FALSE_ALARMS = 1e-4;
const LEAST = 1e-6;

/** `outside`: each good reference's distances to a bank that has not seen it. */
export function calmOf(outside: readonly Float32Array[]): Calm {
  const { mean, deviation } = momentsOf(outside.map(calmest));
  const chance = mean + predictionFactor(outside.length) * deviation;
  return { mean, limit: Math.max(LEAST_RATIO * mean, chance, mean + LEAST) };
}

export function strangeness(distances: Float32Array, { mean, limit }: Calm): number {
  return (calmest(distances) - mean) / (limit - mean);
}

/** t · √(1 + 1/n); with the middle as the limit a tolerance factor is t / √n. */
function predictionFactor(n: number): number {
  return Math.sqrt(n + 1) * toleranceFactor(n, { share: 0.5, confidence: 1 - FALSE_ALARMS });
}

function calmest(distances: Float32Array): number {
  return distances.slice().sort()[Math.floor(CALM_SHARE * (distances.length - 1))] as number;
}
