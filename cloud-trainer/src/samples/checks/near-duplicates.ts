/**
 * Finds pictures that show the same exposure: packed again, resized, a little brighter. In: thumbnails. Out: which belong
 * together. A fixed camera sees nearly the same in every frame, so the usual difference hash (dHash, 64 bits) would call all
 * of them alike; here the mean of all pictures of a scene is taken away first, and what is left is compared.
 * Candidates are those within 8 bits, found by nine bands of the hash, one of which must then agree (multi-index hashing,
 * Norouzi et al. 2012); they count when their remaining gradients correlate. What it cannot see: a scene made of one
 * exposure alone, whose mean is that exposure; and shifts of more than a hundredth of the picture.
 */
import { createComponents } from "../components.ts";
import { THUMB } from "./look.ts";

const RADIUS = 8;
const BAND_BITS = [7, 7, 7, 7, 7, 7, 7, 7, 8] as const;
/** A band that many share says nothing; the eight others still compare them. */
const BUCKET_LIMIT = 4000;
const CORRELATION = 0.9;
/** A scene of fewer pictures has no mean of its own: two copies alone would cancel each other. */
const SCENE = 16;
const SCENE_RADIUS = 14;
const SCENES = 64;

const { width: W, height: H } = THUMB;
type Hash = { low: number; high: number };

/** Groups of two or more indices. */
export function alikePictures(thumbnails: readonly Uint16Array[]): number[][] {
  const restOf = withoutScene(thumbnails);
  const hashes = thumbnails.map((_, i) => differenceHash(restOf(i)));
  const components = createComponents(thumbnails.length);
  for (const [a, b] of candidates(hashes)) {
    // Gradients are made when two pictures are held against each other: all of them at once would fill the memory.
    if (!components.areJoined(a, b) && dot(gradientOf(restOf(a)), gradientOf(restOf(b))) >= CORRELATION) components.join(a, b);
  }
  return components.groups().filter((group) => group.length > 1);
}

/** What each picture has that its scene has not: the scene's mean is taken away as brightly as the picture shows it. */
function withoutScene(thumbnails: readonly Uint16Array[]): (i: number) => Float32Array {
  const { of, members } = scenesOf(thumbnails);
  const everything = thumbnails.length < SCENE ? new Float32Array(W * H) : meanOf(thumbnails);
  const means = members.map((scene) => (scene.length < SCENE ? everything : meanOf(scene.map((i) => thumbnails[i] as Uint16Array))));
  return (i) => {
    const mean = means[of[i] as number] as Float32Array;
    const rest = centred(thumbnails[i] as Uint16Array);
    const energy = dot(mean, mean);
    const gain = energy === 0 ? 0 : dot(rest, mean) / energy;
    return rest.map((level, p) => level - gain * (mean[p] as number));
  };
}

/** Pictures near a first one are its scene; a set of many products has several. The last scene takes what fits nowhere. */
function scenesOf(thumbnails: readonly Uint16Array[]): { of: number[]; members: number[][] } {
  const leaders: Hash[] = [];
  const members = Array.from({ length: SCENES + 1 }, (): number[] => []);
  const of = thumbnails.map((thumbnail, i) => {
    const hash = differenceHash(thumbnail);
    let scene = leaders.findIndex((leader) => distance(leader, hash) <= SCENE_RADIUS);
    if (scene < 0) scene = leaders.length < SCENES ? leaders.push(hash) - 1 : SCENES;
    (members[scene] as number[]).push(i);
    return scene;
  });
  return { of, members };
}

/** Mean picture, its own mean level taken away. */
function meanOf(thumbnails: readonly Uint16Array[]): Float32Array {
  const sum = new Float64Array(W * H);
  for (const thumbnail of thumbnails) for (let p = 0; p < sum.length; p++) sum[p] = (sum[p] as number) + (thumbnail[p] as number);
  return centred(sum.map((total) => total / thumbnails.length));
}

function centred(levels: Uint16Array | Float64Array): Float32Array {
  let sum = 0;
  for (const level of levels) sum += level;
  return Float32Array.from(levels, (level) => level - sum / levels.length);
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

/** dHash: of 9 × 8 fields, whether each is brighter than its left neighbour. */
function differenceHash(levels: ArrayLike<number>): Hash {
  const field = (row: number, column: number) => {
    const at = row * 2 * W + column * 2;
    return (levels[at] as number) + (levels[at + 1] as number) + (levels[at + W] as number) + (levels[at + W + 1] as number);
  };
  const words = [0, 0];
  for (let row = 0; row < 8; row++) {
    for (let column = 0; column < 8; column++) {
      if (field(row, column + 1) > field(row, column)) {
        const word = row >> 2;
        words[word] = ((words[word] as number) | (1 << ((row & 3) * 8 + column))) >>> 0;
      }
    }
  }
  return { low: words[0] as number, high: words[1] as number };
}

/** Pairs within the radius; each may come more than once. */
function* candidates(hashes: readonly Hash[]): Generator<[number, number]> {
  let shift = 0;
  for (const bits of BAND_BITS) {
    const buckets = Array.from({ length: 2 ** bits }, (): number[] => []);
    for (const [i, hash] of hashes.entries()) {
      const bucket = buckets[bandOf(hash, shift, bits)] as number[];
      for (let k = Math.max(0, bucket.length - BUCKET_LIMIT); k < bucket.length; k++) {
        const other = bucket[k] as number;
        if (distance(hash, hashes[other] as Hash) <= RADIUS) yield [other, i];
      }
      bucket.push(i);
    }
    shift += bits;
  }
}

function bandOf({ low, high }: Hash, shift: number, bits: number): number {
  const mask = 2 ** bits - 1;
  if (shift >= 32) return (high >>> (shift - 32)) & mask;
  const fromHigh = shift + bits > 32 ? high << (32 - shift) : 0;
  return ((low >>> shift) | fromHigh) & mask;
}

function distance(a: Hash, b: Hash): number {
  return bitCount(a.low ^ b.low) + bitCount(a.high ^ b.high);
}

function bitCount(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Steps to the right and down, less their means, of length 1: a light that falls from one side does not count. */
function gradientOf(levels: Float32Array): Float32Array {
  const size = H * (W - 1) + (H - 1) * W;
  const across = H * (W - 1);
  const out = new Float32Array(size);
  for (let y = 0, i = 0; y < H; y++)
    for (let x = 1; x < W; x++, i++) out[i] = (levels[y * W + x] as number) - (levels[y * W + x - 1] as number);
  for (let p = W; p < W * H; p++) out[across + p - W] = (levels[p] as number) - (levels[p - W] as number);
  for (const part of [out.subarray(0, across), out.subarray(across)]) {
    const mean = part.reduce((sum, step) => sum + step, 0) / part.length;
    for (let i = 0; i < part.length; i++) part[i] = (part[i] as number) - mean;
  }
  const length = Math.hypot(...out);
  return length === 0 ? out : out.map((step) => step / length);
}
