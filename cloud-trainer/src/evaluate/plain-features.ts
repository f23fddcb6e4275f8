/**
 * What the plain baseline sees: some seventy hand-made numbers a picture. It is printed beside every claim and enters nothing else.
 *
 *   spectrum   log power of the windowed brightness in rings, each some half finer than the one before, and in sectors (which way)
 *   edges      the same spectrum of where brightness changes, however much it does: how edges are laid out
 *   roughness  mean absolute Laplacian over small windows, the largest, the smallest and their deviation, relative to the
 *              picture's own mean
 *   colour     see colour-features.ts
 *
 * In: an RGB picture. Out: a row of numbers, the same meaning for any size of at least 32 pixels.
 */
import type { RgbImage } from "@kenpin/clip";
import { deviation } from "@kenpin/stats";
import { colourFeatures } from "./colour-features.ts";
import { fourierPower } from "./fourier.ts";

const RINGS = 10;
const SECTORS = 12;
/** Sides in pixels of the windows that a local change of texture fills. */
const WINDOWS = [8, 12, 16, 20];
/** Those whose smallest and spread are told too. */
const SPREAD_WINDOWS = [8, 20];
const LARGEST_SQUARE = 512;

export function plainFeatures(image: RgbImage): number[] {
  const grey = greyOf(image);
  const laplacian = laplacianOf(grey);
  return [...spectrum(grey), ...roughness(laplacian), ...colourFeatures(image), ...spectrum(edgesOf(laplacian))];
}

type Grey = { width: number; height: number; values: Float64Array };

function greyOf({ width, height, data }: RgbImage): Grey {
  const values = new Float64Array(width * height);
  for (let i = 0; i < values.length; i++) {
    values[i] = 0.299 * (data[i * 3] as number) + 0.587 * (data[i * 3 + 1] as number) + 0.114 * (data[i * 3 + 2] as number);
  }
  return { width, height, values };
}

/** Log of the power's share in each ring of frequency, and in each sector of direction. */
function spectrum(grey: Grey): number[] {
  const square = Math.min(LARGEST_SQUARE, grey.width, grey.height);
  const side = 2 ** Math.ceil(Math.log2(square));
  const power = fourierPower(padded(windowed(grey, square), square, side), side);
  const { ring, sector } = bandsOf(square, side);
  const rings = new Array<number>(RINGS).fill(0);
  const sectors = new Array<number>(SECTORS).fill(0);
  let total = 0;
  for (let i = 0; i < power.length; i++) {
    const band = ring[i] as number;
    if (band === NO_BAND) continue;
    const share = power[i] as number;
    rings[band] = (rings[band] as number) + share;
    sectors[sector[i] as number] = (sectors[sector[i] as number] as number) + share;
    total += share;
  }
  return [...rings, ...sectors].map((value) => Math.log(value / Math.max(total, 1e-12) + 1e-9));
}

type Bands = { ring: Uint8Array; sector: Uint8Array };
const NO_BAND = 255;
/** Pictures of a set mostly have one size. */
let lastBands: (Bands & { square: number; side: number }) | null = null;

/** Each frequency's ring, from one wave over the square to the finest there is in even steps of the logarithm, and its sector. */
function bandsOf(square: number, side: number): Bands {
  if (lastBands?.square === square && lastBands.side === side) return lastBands;
  const [ring, sector] = [new Uint8Array(side * side).fill(NO_BAND), new Uint8Array(side * side)];
  const coarsest = Math.log(2 / square);
  for (let v = 0; v < side; v++) {
    for (let u = 0; u < side; u++) {
      const [x, y] = [u < side / 2 ? u : u - side, v < side / 2 ? v : v - side];
      const radius = Math.hypot(x, y) / (side / 2);
      if (radius === 0 || radius >= 1) continue;
      ring[v * side + u] = Math.max(0, Math.floor((1 - Math.log(radius) / coarsest) * RINGS));
      sector[v * side + u] = Math.floor((((Math.atan2(y, x) + Math.PI) / Math.PI) % 1) * SECTORS);
    }
  }
  lastBands = { ring, sector, square, side };
  return lastBands;
}

/** Zeros beside the square bring it to a side that the transform takes; its spectrum is the same, only more finely drawn. */
function padded(values: Float64Array, square: number, side: number): Float64Array {
  const out = new Float64Array(side * side);
  for (let y = 0; y < square; y++) out.set(values.subarray(y * square, (y + 1) * square), y * side);
  return out;
}

/** The centre square without its mean, under a Hann window, so that its edges are no edge. */
function windowed({ width, height, values }: Grey, side: number): Float64Array {
  const [left, top] = [Math.floor((width - side) / 2), Math.floor((height - side) / 2)];
  const out = new Float64Array(side * side);
  let mean = 0;
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) mean += (values[(top + y) * width + left + x] as number) / (side * side);
  const hann = (i: number) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 0.5)) / side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) out[y * side + x] = ((values[(top + y) * width + left + x] as number) - mean) * hann(x) * hann(y);
  }
  return out;
}

/** |Laplacian|, 0 along the border. */
function laplacianOf({ width, height, values }: Grey): Grey {
  const out = new Float64Array(width * height);
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1, i = y * width + 1; x < width - 1; x++, i++) {
      const around = (values[i - 1] as number) + (values[i + 1] as number) + (values[i - width] as number) + (values[i + width] as number);
      out[i] = Math.abs(4 * (values[i] as number) - around);
    }
  }
  return { width, height, values: out };
}

/** Near 1 on an edge and 0 beside it, by the picture's own measure: a faint edge counts nearly as much as a strong one. */
function edgesOf({ width, height, values }: Grey): Grey {
  const mean = Math.max(values.reduce((sum, value) => sum + value, 0) / values.length, 1e-6);
  return { width, height, values: values.map((value) => value / (value + mean)) };
}

function roughness({ width, height, values }: Grey): number[] {
  const sums = new Float64Array((width + 1) * (height + 1)); // summed-area table
  for (let y = 0; y < height; y++) {
    let row = 0;
    for (let x = 0; x < width; x++) {
      row += values[y * width + x] as number;
      sums[(y + 1) * (width + 1) + x + 1] = (sums[y * (width + 1) + x + 1] as number) + row;
    }
  }
  const box = (x: number, y: number, w: number, h: number) =>
    ((sums[(y + h) * (width + 1) + x + w] as number) -
      (sums[y * (width + 1) + x + w] as number) -
      (sums[(y + h) * (width + 1) + x] as number) +
      (sums[y * (width + 1) + x] as number)) /
    (w * h);
  const mean = Math.max(box(1, 1, width - 2, height - 2), 1e-6);
  const windows = (side: number) => {
    const seen: number[] = [];
    for (let y = 1; y + side < height; y += 2) for (let x = 1; x + side < width; x += 2) seen.push(box(x, y, side, side) / mean);
    return seen;
  };
  const most = WINDOWS.map((side) => windows(side).reduce((a, b) => Math.max(a, b), 0));
  const spread = SPREAD_WINDOWS.map(windows).flatMap((seen) => [seen.reduce((a, b) => Math.min(a, b)), deviation(seen)]);
  return [...most, Math.log(mean), ...spread];
}
