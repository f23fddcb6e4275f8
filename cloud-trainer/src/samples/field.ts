/**
 * Scalar fields on a square grid, the material every generated surface is made of. All pure: the random stream is given.
 * A field is a Float32Array of side², row by row; most have mean 0 and deviation near 1.
 */
import type { Random } from "@kenpin/stats";

export type Field = Float32Array<ArrayBufferLike>;

export function whiteNoise(side: number, random: Random): Field {
  const out = new Float32Array(side * side);
  // A sum of four uniforms is near enough to a normal and four times cheaper than its logarithms.
  for (let i = 0; i < out.length; i++) out[i] = (random.next() + random.next() + random.next() + random.next() - 2) * 1.732;
  return out;
}

/** Smooth noise: random values on a lattice of cells `cellX` × `cellY` pixels, blended by a cubic, turned by `angle`. */
export function latticeNoise(
  side: number,
  { cellX, cellY, angle = 0 }: { cellX: number; cellY: number; angle?: number },
  random: Random,
): Field {
  const span = Math.ceil((side * 1.5) / Math.min(cellX, cellY)) + 4;
  const size = Math.min(span, 256);
  const lattice = new Float32Array(size * size);
  for (let i = 0; i < lattice.length; i++) lattice[i] = random.next() * 3.46 - 1.73;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const out = new Float32Array(side * side);
  const offset = random.next() * size;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const u = (x * cos + y * sin) / cellX + offset + size;
      const v = (y * cos - x * sin) / cellY + offset + size;
      out[y * side + x] = sampleLattice(lattice, size, u, v);
    }
  }
  return out;
}

function sampleLattice(lattice: Field, size: number, u: number, v: number): number {
  const [u0, v0] = [Math.floor(u), Math.floor(v)];
  const [fu, fv] = [ease(u - u0), ease(v - v0)];
  const at = (i: number, j: number) => lattice[(((j % size) + size) % size) * size + (((i % size) + size) % size)] as number;
  const top = at(u0, v0) * (1 - fu) + at(u0 + 1, v0) * fu;
  const bottom = at(u0, v0 + 1) * (1 - fu) + at(u0 + 1, v0 + 1) * fu;
  return top * (1 - fv) + bottom * fv;
}

function ease(t: number): number {
  return t * t * (3 - 2 * t);
}

/** One value a pixel from its coordinates. */
export function fieldOf(side: number, value: (x: number, y: number) => number): Field {
  const out = new Float32Array(side * side);
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) out[y * side + x] = value(x, y);
  return out;
}

/** Box blur of the given radius, edges held; two passes come near a Gaussian. */
export function blur(field: Field, side: number, radius: number, passes = 2): Field {
  let current = field;
  for (let pass = 0; pass < passes; pass++) current = transposedBoxBlur(transposedBoxBlur(current, side, radius), side, radius);
  return current;
}

/** Blurs along rows and writes the result transposed, so that two calls blur both ways. */
function transposedBoxBlur(field: Field, side: number, radius: number): Field {
  const out = new Float32Array(field.length);
  const width = 2 * radius + 1;
  for (let y = 0; y < side; y++) {
    const at = (x: number) => field[y * side + Math.min(side - 1, Math.max(0, x))] as number;
    let sum = 0;
    for (let x = -radius; x <= radius; x++) sum += at(x);
    for (let x = 0; x < side; x++) {
      out[x * side + y] = sum / width;
      sum += at(x + radius + 1) - at(x - radius);
    }
  }
  return out;
}

/** Cells around jittered points: `tone` one normal number a cell, `gap` how much farther the second nearest point is than the nearest, in pixels. */
export function voronoi(side: number, { cellX, cellY }: { cellX: number; cellY: number }, random: Random): { gap: Field; tone: Field } {
  const [across, down] = [Math.ceil(side / cellX) + 3, Math.ceil(side / cellY) + 3];
  const count = across * down;
  const [px, py, tones] = [new Float32Array(count), new Float32Array(count), new Float32Array(count)];
  const [left, top] = [random.next(), random.next()];
  for (let i = 0; i < count; i++) {
    px[i] = ((i % across) - 1 - left + random.next()) * cellX;
    py[i] = (Math.floor(i / across) - 1 - top + random.next()) * cellY;
    tones[i] = random.normal();
  }
  const [gap, tone] = [new Float32Array(side * side), new Float32Array(side * side)];
  for (let y = 0; y < side; y++) {
    const cy = Math.floor(y / cellY + top) + 1;
    for (let x = 0; x < side; x++) {
      const cx = Math.floor(x / cellX + left) + 1;
      let [first, second, nearest] = [1e9, 1e9, 0];
      for (let j = Math.max(0, cy - 1); j <= Math.min(down - 1, cy + 1); j++) {
        for (let i = Math.max(0, cx - 1); i <= Math.min(across - 1, cx + 1); i++) {
          const at = j * across + i;
          const away = ((px[at] as number) - x) ** 2 + ((py[at] as number) - y) ** 2;
          if (away < first) [first, second, nearest] = [away, first, at];
          else if (away < second) second = away;
        }
      }
      gap[y * side + x] = Math.sqrt(second) - Math.sqrt(first);
      tone[y * side + x] = tones[nearest] as number;
    }
  }
  return { gap, tone };
}

/** 0 below −1/2, 1 above 1/2: an edge as a pixel sees it, from the distance to it in pixels. */
export function step(distance: number): number {
  return Math.min(1, Math.max(0, distance + 0.5));
}

/** The same with a soft foot: 0 below −1, 1 above 1. */
export function smooth(distance: number): number {
  return ease(Math.min(1, Math.max(0, (distance + 1) / 2)));
}

export function mix(a: Field, b: Field, weightOfB: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(a, (value, i) => value * (1 - weightOfB) + (b[i] as number) * weightOfB);
}

/** Shifted and scaled to mean 0 and deviation 1; a flat field stays 0. */
export function standardise(field: Field): Float32Array<ArrayBuffer> {
  let sum = 0;
  let squares = 0;
  for (const value of field) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / field.length;
  const deviation = Math.sqrt(Math.max(0, squares / field.length - mean * mean)) || 1;
  return Float32Array.from(field, (value) => (value - mean) / deviation);
}
