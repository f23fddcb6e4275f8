/**
 * From what calibration saw to a plan: a smoothing for each place whose norm can take one, then one step for the place.
 * Smoothing (SmoothQuant, arXiv 2211.10438): s_j = max|x_j|^α / max|w_j|^(1 − α); α = 0 leaves a place as it is.
 */
import type { PlaceName, PlacePlan, QuantPlan, Scheme, WeightForm } from "@kenpin/onnx";
import { type Calibrator, rangeOf, roundingError, stepOf } from "./calibrators.ts";
import type { Seen } from "./observe.ts";

export type PlanChoice = {
  calibrator: Calibrator;
  alpha: number;
  /** Of an int8-static graph's places, those with the largest rounding error, measured as it runs. */
  dynamicShare: number;
};
export type PlanOptions = PlanChoice & {
  scheme: Scheme;
  weights: WeightForm;
  places: readonly PlaceName[];
  seen: ReadonlyMap<string, Seen>;
  inFloat: ReadonlySet<string>;
};

/** No channel is stretched or shrunk by more, so that one that never spoke in calibration can still be read. */
const SMOOTH_LIMIT = 1e4;

export function makePlan({ scheme, weights, places, seen, inFloat, dynamicShare, ...choice }: PlanOptions): QuantPlan {
  const plans = new Map<string, PlacePlan>();
  const errors: { plan: PlacePlan; error: number }[] = [];
  for (const { name, smoothable } of places) {
    const found = seen.get(name);
    if (inFloat.has(name) || !found) continue;
    const plan = placePlan(found, { ...choice, scheme, smoothable });
    plans.set(name, plan);
    if (dynamicShare > 0) errors.push({ plan, error: localError(found, plan, scheme) });
  }
  errors.sort((a, b) => b.error - a.error);
  for (const { plan } of errors.slice(0, Math.ceil(errors.length * dynamicShare))) plan.dynamic = true;
  return { scheme, weights, places: plans, embeddings: true };
}

/** A float16 graph needs no calibration: every place is named, none has a scale. */
export function halfPlan(places: readonly PlaceName[]): QuantPlan {
  const plans = new Map(places.map(({ name }) => [name, { smooth: null, scale: 1, zero: 0 }]));
  return { scheme: "fp16", weights: { type: "int8", bits: 8 }, places: plans, embeddings: true };
}

/** Mean square error of a place's codes over the mean square of its values: what rounding alone costs there. */
export function localError(seen: Seen, plan: PlacePlan, scheme: Scheme): number {
  const values = smoothed(seen.rows, plan.smooth, seen.max.length);
  const power = values.reduce((sum, value) => sum + value * value, 0) / values.length;
  const signed = scheme === "qdq";
  const step = scheme === "int8-dynamic" || plan.dynamic ? stepOf(extremes(seen, plan.smooth), false) : plan;
  return roundingError(values, step, signed) / Math.max(power, 1e-12);
}

type PlaceChoice = Omit<PlanChoice, "dynamicShare"> & { scheme: Scheme; smoothable: boolean };

function placePlan(seen: Seen, { calibrator, alpha, scheme, smoothable }: PlaceChoice): PlacePlan {
  const smooth = smoothable && alpha > 0 ? smoothing(seen, alpha) : null;
  if (scheme === "int8-dynamic") return { smooth, scale: 1, zero: 0 };
  const values = smoothed(seen.rows, smooth, seen.max.length);
  const { low, high } = extremes(seen, smooth);
  const signed = scheme === "qdq";
  // The products multiply a channel's error by its smoothing and its weights.
  const importance = smooth ? seen.weights.map((weight, j) => (weight * (smooth[j] as number)) ** 2) : null;
  return { smooth, ...stepOf(rangeOf({ min: low, max: high, values, importance }, calibrator, signed), signed) };
}

function smoothing({ min, max, weights }: Seen, alpha: number): Float32Array {
  const raw = max.map((value, j) => {
    const largest = Math.max(Math.abs(value), Math.abs(min[j] as number), 1e-5);
    return largest ** alpha / Math.max(weights[j] as number, 1e-5) ** (1 - alpha);
  });
  const middle = Math.exp(raw.reduce((sum, value) => sum + Math.log(value), 0) / raw.length);
  return raw.map((value) => Math.min(SMOOTH_LIMIT, Math.max(1 / SMOOTH_LIMIT, value / middle)));
}

function smoothed(rows: Float32Array, smooth: Float32Array | null, channels: number): Float32Array {
  return smooth ? rows.map((value, i) => value / (smooth[i % channels] as number)) : rows;
}

function extremes({ min, max }: Seen, smooth: Float32Array | null): { low: number; high: number } {
  const over = (values: Float32Array) => (smooth ? values.map((value, j) => value / (smooth[j] as number)) : values);
  return { low: over(min).reduce((a, b) => Math.min(a, b)), high: over(max).reduce((a, b) => Math.max(a, b)) };
}
