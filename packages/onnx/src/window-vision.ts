/**
 * The image towers over windows of patches, as WinCLIP has them (arXiv 2303.14814): for each window only its patches and the class
 * token go through the blocks, each with its own position and rotary angle, and the class token's row is the window's embedding.
 * In: `pixel_values` [1, 3, S, S], one picture, and `windows` [n, k], the indices of the patches each of n windows keeps, row by
 * row from 0. Out: `window_embeds` [n, D] of length 1. A window of all patches is the picture's own embedding. Standard operators
 * only: a reference, not what a line runs.
 */
import type { ModelConfig } from "@kenpin/clip";
import { block, bySide, embeds, negated, openTower, patchTokens, type Rotary, rotaryTable, TRUNK, type Tower } from "./eva-vision.ts";
import type { Value } from "./graph.ts";
import type { Weights } from "./weights.ts";

/** As many rows as a window keeps, which a reshape finds out by itself. */
const KEPT = -1;

export function windowVisionGraph({ config, weights }: { config: ModelConfig; weights: Weights }): Uint8Array {
  const { image, embedDim } = config;
  const tower: Tower = { ...openTower({ config }), tokens: KEPT };
  const { graph } = tower;
  const kept = keptRows(tower);
  let x = graph.op("Gather", [graph.reshape(patchTokens(tower), [KEPT, image.width]), kept], { axis: 0 }); // (n, k + 1, width)
  const rotary = image.rotary ? keptAngles(tower, kept) : null;
  for (let i = 0; i < image.depth; i++) x = block(tower, `${TRUNK}blocks.${i}.`, x, rotary, i === image.depth - 1);
  graph.output("window_embeds", graph.reshape(embeds(tower, x, 1), [0, embedDim]), ["n", embedDim]);
  return graph.finish(`${config.name}-windows`).encode(weights);
}

/** Rows of the tokens: 0, the class token, then each patch's index moved on by one. */
function keptRows({ graph }: Tower): Value {
  const windows = graph.input("windows", "int64", ["n", "k"]);
  const padded = graph.op("Pad", [windows, graph.integers([0, 1, 0, 0]), graph.integers([-1], [])]);
  return graph.op("Add", [padded, graph.integers([1], [])]);
}

/** Each window's own angles: [n, 1, k + 1, headDim]. */
function keptAngles({ graph, image }: Tower, kept: Value): Rotary {
  const { cos, sin } = rotaryTable(image);
  const half = image.headDim / 2;
  const table = (left: Float32Array, right: Float32Array) => {
    const all = graph.floats(bySide(left, right, half), [cos.length / half, image.headDim]);
    return graph.op("Unsqueeze", [graph.op("Gather", [all, kept], { axis: 0 }), graph.integers([1])]);
  };
  return { cos: table(cos, cos), sin: table(negated(sin), sin) };
}
