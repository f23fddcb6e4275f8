/**
 * Weights by open_clip's names, as the towers' graphs want them: transposed for a product, joined, rows reordered.
 * A Weight is a recipe over named tensors, not the numbers: a graph is drawn from the config alone, and the numbers are
 * read when the file is written, one tensor after the other.
 */
import { type ModelConfig, tensorShapes } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";

/** All tensors in memory, as small models are held. */
export type Weights = ReadonlyMap<string, { shape: number[]; data: Float32Array }>;
export type Lookup = (name: string) => Float32Array;
export type Weight = { length: number; names: string[]; make: (get: Lookup) => Float32Array };
export type Take = (name: string) => Weight;
/**
 * Bytes made of weights as a float32 graph of the model holds them, so that a checkpoint and such a graph alike can be the
 * source: rounded kernels, their scales, norms with a scale migrated into them.
 */
export type Made = { bytes: number; from: Weight[]; make: (parts: Float32Array[]) => Uint8Array };

/** The config's tensors by name; asking for one it does not have is a fault of the graph. */
export function tensorsOf(config: ModelConfig): Take {
  const shapes = tensorShapes(config);
  return (name) => {
    const shape = shapes.get(name);
    if (!shape) throw new KenpinError("weight-missing", `${config.name} has no weight ${name}`);
    const length = shape.reduce((size, n) => size * n, 1);
    return { length, names: [name], make: (get) => checked(name, get(name), length) };
  };
}

/** What an initializer is called in the file: the tensors it is made of. */
export function labelOf({ names }: Weight): string {
  return [...new Set(names)].join("+");
}

export function lookupIn(weights: Weights): Lookup {
  return (name) => {
    const found = weights.get(name);
    if (!found) throw new KenpinError("weight-missing", `the checkpoint has no weight ${name}; it is no model of this configuration`);
    return found.data;
  };
}

export function bytesOf(data: Float32Array | Int8Array | Uint8Array | Uint16Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export function zeros(length: number): Weight {
  return { length, names: [], make: () => new Float32Array(length) };
}

/** [out, from] → [from, out], in blocks that stay in the cache. */
export function transposed(weight: Weight, out: number): Weight {
  const from = weight.length / out;
  return derived([weight], weight.length, ([data]) => {
    const result = new Float32Array(weight.length);
    const block = 32;
    for (let i0 = 0; i0 < out; i0 += block) {
      for (let j0 = 0; j0 < from; j0 += block) {
        const [i1, j1] = [Math.min(i0 + block, out), Math.min(j0 + block, from)];
        for (let i = i0; i < i1; i++) for (let j = j0; j < j1; j++) result[j * out + i] = (data as Float32Array)[i * from + j] as number;
      }
    }
    return result;
  });
}

export function joined(weights: Weight[]): Weight {
  const length = weights.reduce((sum, { length }) => sum + length, 0);
  return derived(weights, length, (parts) => {
    const out = new Float32Array(length);
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  });
}

export function part(weight: Weight, from: number, to: number): Weight {
  return derived([weight], to - from, ([data]) => (data as Float32Array).subarray(from, to));
}

export function scaled(weight: Weight, factor: number): Weight {
  return derived([weight], weight.length, ([data]) => (data as Float32Array).map((value) => value * factor));
}

/** The second weight added to the first's front. */
export function addedInFront(weight: Weight, front: Weight): Weight {
  return derived([weight, front], weight.length, ([data, more]) => {
    const out = Float32Array.from(data as Float32Array);
    for (const [i, value] of (more as Float32Array).entries()) out[i] = (out[i] as number) + value;
    return out;
  });
}

/**
 * Puts each head's even rows before its odd ones. Rotary pairs (2j, 2j + 1) become (j, j + d/2), so that the turn is a
 * swap of halves; q · k does not change, because both are reordered alike.
 */
export function halvesTogether(weight: Weight, rows: number, headDim: number): Weight {
  const columns = weight.length / rows;
  return derived([weight], weight.length, ([data]) => {
    const out = new Float32Array(weight.length);
    for (let row = 0; row < rows; row++) {
      const [head, at] = [Math.floor(row / headDim) * headDim, row % headDim];
      const from = head + (at < headDim / 2 ? 2 * at : 2 * (at - headDim / 2) + 1);
      out.set((data as Float32Array).subarray(from * columns, (from + 1) * columns), row * columns);
    }
    return out;
  });
}

function derived(sources: Weight[], length: number, make: (parts: Float32Array[]) => Float32Array): Weight {
  return { length, names: sources.flatMap(({ names }) => names), make: (get) => make(sources.map((source) => source.make(get))) };
}

function checked(name: string, data: Float32Array, length: number): Float32Array {
  if (data.length === length) return data;
  throw new KenpinError("weight-shape", `weight ${name} has ${data.length} numbers where the configuration needs ${length}`);
}
