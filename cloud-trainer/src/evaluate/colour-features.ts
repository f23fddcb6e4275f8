/**
 * What the plain baseline sees of colour. In: an RGB picture. Out: 19 numbers.
 *
 *   hue       share of the colourfulness (largest minus smallest channel) in six sectors around the primary and mixed colours, and
 *             its mean
 *   layout    deviation of each channel's means over four by four fields
 *   relation  correlation of each two channels
 *   tone      mean and deviation of each channel
 */
import type { RgbImage } from "@kenpin/clip";

const HUES = 6;
const FIELDS = 4;

export function colourFeatures(image: RgbImage): number[] {
  return [...hues(image), ...layout(image), ...relations(image), ...tones(image)];
}

function hues({ data }: RgbImage): number[] {
  const shares = new Array<number>(HUES).fill(0);
  let total = 0;
  for (let i = 0; i < data.length; i += 3) {
    const [r, g, b] = [data[i] as number, data[i + 1] as number, data[i + 2] as number];
    const colourful = Math.max(r, g, b) - Math.min(r, g, b);
    const turn = Math.atan2((Math.sqrt(3) / 2) * (g - b), r - (g + b) / 2) / (2 * Math.PI);
    const hue = Math.floor(((turn + 1 + 0.5 / HUES) % 1) * HUES);
    shares[hue] = (shares[hue] as number) + colourful;
    total += colourful;
  }
  return [...shares.map((share) => share / Math.max(total, 1)), total / (data.length / 3) / 255];
}

function layout({ width, height, data }: RgbImage): number[] {
  return [0, 1, 2].map((channel) => {
    const means: number[] = [];
    for (let row = 0; row < FIELDS; row++) {
      for (let column = 0; column < FIELDS; column++) {
        const [top, bottom] = [Math.floor((row * height) / FIELDS), Math.floor(((row + 1) * height) / FIELDS)];
        const [left, right] = [Math.floor((column * width) / FIELDS), Math.floor(((column + 1) * width) / FIELDS)];
        let sum = 0;
        for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += data[(y * width + x) * 3 + channel] as number;
        means.push(sum / ((bottom - top) * (right - left)));
      }
    }
    const centre = means.reduce((sum, value) => sum + value, 0) / means.length;
    return Math.sqrt(means.reduce((sum, value) => sum + (value - centre) ** 2, 0) / means.length) / 255;
  });
}

function relations({ data }: RgbImage): number[] {
  const count = data.length / 3;
  const pairs = [
    [0, 1],
    [0, 2],
    [1, 2],
  ] as const;
  return pairs.map(([a, b]) => {
    let [sumA, sumB, ab, aa, bb] = [0, 0, 0, 0, 0];
    for (let i = 0; i < data.length; i += 3) {
      const [x, y] = [data[i + a] as number, data[i + b] as number];
      sumA += x;
      sumB += y;
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    const spread = Math.sqrt(Math.max(0, aa - (sumA * sumA) / count) * Math.max(0, bb - (sumB * sumB) / count));
    return spread < 1e-6 ? 0 : (ab - (sumA * sumB) / count) / spread;
  });
}

function tones({ data }: RgbImage): number[] {
  const count = data.length / 3;
  return [0, 1, 2].flatMap((channel) => {
    let [sum, squares] = [0, 0];
    for (let i = channel; i < data.length; i += 3) {
      sum += data[i] as number;
      squares += (data[i] as number) ** 2;
    }
    const mean = sum / count;
    return [mean / 255, Math.sqrt(Math.max(0, squares / count - mean * mean)) / 255];
  });
}
