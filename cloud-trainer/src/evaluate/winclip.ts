/**
 * A picture by WinCLIP's published method (arXiv 2303.14814), beside the one pass that a line runs: a reference, many times as slow.
 * In: a weights' folder, prompts, frames. Out: the map, the class token's score, the mean of it and the map's highest value, and what
 * both methods cost. A frame of several tiles is as many pictures whose maps are stitched; its class score is their mean.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeImage, type Tiles, tileFrame } from "@kenpin/clip";
import {
  type AnomalyMap,
  acrossScales,
  badShares,
  harmonicMap,
  meanOf,
  pictureScore,
  promptDirections,
  startModelWorker,
  stitch,
  WINDOW_SIDES,
  windowsOf,
  wordLogits,
} from "@kenpin/inspector";
import { visionGraph, windowVisionGraph } from "@kenpin/onnx";
import type { PromptSet } from "@kenpin/schema";
import { preprocessOf, type WeightsFolder } from "../weights-folder.ts";

type WindowedFrame = {
  /** Probabilities, as the method has them: not calibrated, and not those of the line. */
  map: AnomalyMap;
  classScore: number;
  score: number;
  tiling: Omit<Tiles, "pixelValues">;
  /** In a tile. */
  windows: number;
  /** Of the runtime: all windows, and the one pass over the same tiles with its patch embeddings. */
  ms: { windows: number; onePass: number };
};
type OnProgress = (done: number, of: number) => void;
/** `onProgress` counts tiles. */
type Winclip = { look: (frame: Uint8Array, onProgress?: OnProgress) => Promise<WindowedFrame>; close: () => Promise<void> };

export async function openWinclip(weights: WeightsFolder, prompts: PromptSet): Promise<Winclip> {
  const { config, tensors } = weights;
  const folder = await mkdtemp(join(tmpdir(), "kenpin-winclip-"));
  const [windowed, whole] = [join(folder, "windows.onnx"), join(folder, "vision.onnx")];
  await writeFile(windowed, windowVisionGraph({ config, weights: tensors }));
  await writeFile(whole, visionGraph({ config, weights: tensors, flavour: "ort" }));
  // One each: a worker keeps the model that it was asked for last.
  const workers = [startModelWorker(), startModelWorker()] as const;
  const [overWindows, onePass] = [workers[0].open(windowed), workers[1].open(whole)];
  const directions = promptDirections(prompts);
  const preprocess = preprocessOf(weights);
  const side = config.image.size;
  const grid = side / config.image.patch;
  const scales = WINDOW_SIDES.map((length) => windowsOf(grid, length)).filter((windows) => windows.length > 0);
  const share = (embeds: Float32Array) => badShares(wordLogits(embeds, directions));

  const look = async (frame: Uint8Array, onProgress: OnProgress = () => {}): Promise<WindowedFrame> => {
    const tiles = await tileFrame(await decodeImage(frame), preprocess);
    const all = await onePass.run({ pixel_values: { data: tiles.pixelValues, dims: [tiles.count, 3, side, side] } });
    const classScores = share(all.tensors["image_embeds"] as Float32Array);
    const ms = { windows: 0, onePass: all.ms };
    const values = new Float32Array(tiles.count * grid * grid);
    for (const [tile, classScore] of classScores.entries()) {
      const pixels = { data: tiles.pixelValues.slice(tile * 3 * side * side, (tile + 1) * 3 * side * side), dims: [1, 3, side, side] };
      const maps: Float64Array[] = [];
      for (const windows of scales) {
        const kept = { data: BigInt64Array.from(windows.flat(), BigInt), dims: [windows.length, (windows[0] as number[]).length] };
        const found = await overWindows.run({ pixel_values: pixels, windows: kept });
        ms.windows += found.ms;
        maps.push(harmonicMap(share(found.tensors["window_embeds"] as Float32Array), windows, grid * grid));
      }
      values.set(acrossScales(maps, classScore), tile * grid * grid);
      onProgress(tile + 1, tiles.count);
    }
    const classScore = meanOf(Float32Array.from(classScores));
    const map = stitch(values, tiles, side);
    const windows = scales.reduce((sum, { length }) => sum + length, 0);
    const { pixelValues: _, ...tiling } = tiles;
    return { map, classScore, score: pictureScore(classScore, Float64Array.from(map.values)), tiling, windows, ms };
  };

  const close = async () => {
    for (const worker of workers) await worker.close();
    await rm(folder, { recursive: true, force: true });
  };
  return { look, close };
}
