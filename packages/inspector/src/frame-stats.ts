/** What a picture looks like before any model: what black, blurred and frozen frames lack. Pure. */
import type { RgbImage } from "@kenpin/clip";

export type FrameStats = { mean: number; contrast: number; sharpness: number };

/** Mean and deviation of brightness, and mean absolute Laplacian, in [0, 255]: what black and blurred frames lack. */
export function frameStats({ width, height, data }: RgbImage): FrameStats {
  let [sum, squares, edges, edgeCount] = [0, 0, 0, 0];
  const green = (x: number, y: number) => data[(y * width + x) * 3 + 1] as number;
  const stride = Math.max(1, Math.floor(Math.sqrt((width * height) / 65_536)));
  let count = 0;
  for (let y = 0; y < height; y += stride) {
    for (let x = 0; x < width; x += stride) {
      const value = green(x, y);
      sum += value;
      squares += value * value;
      count++;
      if (x === 0 || y === 0 || x === width - 1 || y === height - 1) continue;
      edges += Math.abs(4 * value - green(x - 1, y) - green(x + 1, y) - green(x, y - 1) - green(x, y + 1));
      edgeCount++;
    }
  }
  const mean = sum / count;
  return { mean, contrast: Math.sqrt(Math.max(0, squares / count - mean * mean)), sharpness: edges / Math.max(1, edgeCount) };
}
