/** A plan from a few inputs by smallest and largest value, so that graphs can be tested without the quantizer. */
import type { ModelConfig } from "@kenpin/clip";
import {
  type PlaceName,
  type PlacePlan,
  type QuantPlan,
  type Scheme,
  textModel,
  textPlaces,
  visionModel,
  visionPlaces,
} from "@kenpin/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { goldenIds, goldenPixels, seededTensors } from "./seeded-weights.ts";

const WEIGHTS = { type: "int8", bits: 8 } as const;

export function visionFeeds(config: ModelConfig) {
  const side = config.image.size;
  return { pixel_values: new Tensor("float32", goldenPixels(config, 2), [2, 3, side, side]) };
}

export function textFeeds(config: ModelConfig) {
  return { input_ids: new Tensor("int64", goldenIds(config), [3, config.text.context]) };
}

export async function visionPlan(config: ModelConfig, scheme: Scheme): Promise<QuantPlan> {
  const tapped = visionModel({ config, flavour: "ort", taps: { everyToken: 1 } }).encode(seededTensors(config));
  return planned(tapped, visionFeeds(config), visionPlaces(config), scheme);
}

export async function textPlan(config: ModelConfig, scheme: Scheme): Promise<QuantPlan> {
  const tapped = textModel({ config, flavour: "ort", taps: { everyToken: 1 } }).encode(seededTensors(config));
  return planned(tapped, textFeeds(config), textPlaces(config), scheme);
}

async function planned(graph: Uint8Array, feeds: Record<string, Tensor>, places: PlaceName[], scheme: Scheme): Promise<QuantPlan> {
  const session = await InferenceSession.create(graph);
  const out = await session.run(feeds);
  const plans = new Map<string, PlacePlan>();
  for (const { name, smoothable } of places) {
    const [low, high] = [extreme(out[`min:${name}`], Math.min), extreme(out[`max:${name}`], Math.max)];
    const channels = (out[`weight:${name}`] as Tensor).data.length;
    // Any smoothing leaves the function as it is; one that is no constant shows that both sides take it.
    const smooth = smoothable ? Float32Array.from({ length: channels }, (_, i) => 1 + (i % 3) / 10) : null;
    const signed = scheme === "qdq";
    const scale = signed ? Math.max(-low, high) / 127 : (high - low) / 255;
    plans.set(name, { smooth, scale, zero: signed ? 0 : Math.round(-low / scale) });
  }
  await session.release();
  return { scheme, weights: WEIGHTS, places: plans, embeddings: true };
}

function extreme(tensor: Tensor | undefined, pick: (a: number, b: number) => number): number {
  return ((tensor as Tensor).data as Float32Array).reduce((a, b) => pick(a, b));
}
