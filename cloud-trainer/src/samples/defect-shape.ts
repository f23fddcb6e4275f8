/**
 * Where a defect lies: shares in [0, 1] of a square of `side` pixels, sizes in pixels, as a camera at native scale sees them.
 */
import type { Random } from "@kenpin/stats";
import { type Field, fieldOf, latticeNoise } from "./field.ts";

export type Shape = (side: number, random: Random) => Field;

/** An ellipse with a ragged or a clean edge, or a rectangle; 6 to 26 pixels across. */
export function blob(side: number, random: Random): Field {
  const [cx, cy] = [random.between(4, side - 4), random.between(4, side - 4)];
  const [rx, ry, angle] = [random.between(3, 13), random.between(3, 13), random.next() * Math.PI];
  const rag = random.next() < 0.5 ? latticeNoise(side, { cellX: 5, cellY: 5 }, random) : null;
  const power = random.next() < 0.3 ? 8 : 2;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => {
    const u = Math.abs(((x - cx) * cos + (y - cy) * sin) / rx);
    const v = Math.abs(((y - cy) * cos - (x - cx) * sin) / ry);
    const away = u ** power + v ** power + 0.4 * (rag ? (rag[y * side + x] as number) : 0);
    return clamp((1.15 - away) * 3);
  });
}

export function softBlob(side: number, random: Random): Field {
  const [cx, cy, radius] = [random.between(0, side), random.between(0, side), random.between(4, 14)];
  const rag = latticeNoise(side, { cellX: 8, cellY: 8 }, random);
  return fieldOf(side, (x, y) =>
    clamp(1.4 * Math.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius * radius))) + 0.1 * (rag[y * side + x] as number) - 0.25),
  );
}

export function line(side: number, random: Random): Field {
  const [x0, y0, angle, length] = [random.between(0, side), random.between(0, side), random.next() * Math.PI, random.between(10, side)];
  const width = random.between(0.5, 1.8);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => {
    const along = (x - x0) * cos + (y - y0) * sin;
    const across = Math.abs((y - y0) * cos - (x - x0) * sin);
    return Math.abs(along) < length / 2 ? clamp(width + 0.5 - across) : 0;
  });
}

export function curve(side: number, random: Random): Field {
  const out = new Float32Array(side * side);
  let [x, y, angle] = [random.between(0, side), random.between(0, side), random.next() * 2 * Math.PI];
  const [bend, width] = [random.between(-0.12, 0.12), random.between(0.6, 1.6)];
  for (let step = random.between(15, 60); step > 0; step--) {
    angle += bend + random.between(-0.15, 0.15);
    x += Math.cos(angle);
    y += Math.sin(angle);
    stroke(out, side, { x, y, width });
  }
  return out;
}

function stroke(out: Field, side: number, { x, y, width }: { x: number; y: number; width: number }): void {
  for (let j = Math.max(0, Math.floor(y - 2)); j <= Math.min(side - 1, Math.ceil(y + 2)); j++) {
    for (let i = Math.max(0, Math.floor(x - 2)); i <= Math.min(side - 1, Math.ceil(x + 2)); i++) {
      const at = j * side + i;
      out[at] = Math.max(out[at] as number, clamp(width + 0.5 - Math.hypot(i - x, j - y)));
    }
  }
}

/** A curve that turns sharply and branches. */
export function jagged(side: number, random: Random): Field {
  const out = new Float32Array(side * side);
  const start = { x: random.between(0, side), y: random.between(0, side), angle: random.next() * 2 * Math.PI };
  const width = random.between(0.4, 1.1);
  const arms = 1 + random.int(3);
  for (let arm = 0; arm < arms; arm++) {
    let { x, y, angle } = start;
    angle += arm * random.between(1.2, 3);
    for (let step = random.between(12, 50); step > 0; step--) {
      if (random.next() < 0.25) angle += random.between(-0.8, 0.8);
      x += Math.cos(angle);
      y += Math.sin(angle);
      stroke(out, side, { x, y, width });
    }
  }
  return out;
}

/** Small enough to be overlooked: 4 to 8 pixels across. */
export function speck(side: number, random: Random): Field {
  const [cx, cy, radius, flat] = [random.between(3, side - 3), random.between(3, side - 3), random.between(2, 4), random.between(0.5, 1)];
  const angle = random.next() * Math.PI;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => {
    const [u, v] = [(x - cx) * cos + (y - cy) * sin, ((y - cy) * cos - (x - cx) * sin) / flat];
    return clamp(radius + 0.5 - Math.hypot(u, v));
  });
}

/** Ragged and full of holes, as rust is. */
export function mottled(side: number, random: Random): Field {
  const [cx, cy, radius] = [random.between(0, side), random.between(0, side), random.between(6, 18)];
  const rag = latticeNoise(side, { cellX: 4, cellY: 4 }, random);
  return fieldOf(side, (x, y) => clamp(2 * (1 - Math.hypot(x - cx, y - cy) / radius + 0.45 * (rag[y * side + x] as number))));
}

/** A soft stripe right across. */
export function stripe(side: number, random: Random): Field {
  const [at, angle, width] = [random.between(0.1, 0.9) * side, random.next() * Math.PI, random.between(2, 7)];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => Math.exp(-(((x - at) * cos + (y - at) * sin) ** 2) / (2 * width * width)));
}

/** A round rim, as of a bubble or a crater. */
export function rim(side: number, random: Random): Field {
  const [cx, cy, radius, width] = [
    random.between(4, side - 4),
    random.between(4, side - 4),
    random.between(3, 10),
    random.between(0.8, 1.8),
  ];
  return fieldOf(side, (x, y) => Math.exp(-((Math.hypot(x - cx, y - cy) - radius) ** 2) / (2 * width * width)));
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
