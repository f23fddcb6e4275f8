/**
 * float32 → float16 (IEEE 754 binary16), rounded to the nearest, ties to even. What is too large becomes the largest finite
 * number: one weight clipped is better than a row of infinities.
 */
import { bytesOf, type Made, type Weight } from "./weights.ts";

const LARGEST = 0x7bff;

export function halfWeight(weight: Weight): Made {
  return { bytes: weight.length * 2, from: [weight], make: ([data]) => bytesOf(halves(data as Float32Array)) };
}

export function halfNumbers(values: ArrayLike<number>): Made {
  const bytes = bytesOf(halves(Float32Array.from(values)));
  return { bytes: bytes.length, from: [], make: () => bytes };
}

function halves(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, toHalf);
}

function toHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112; // biases 127 and 15
  const fraction = bits & 0x7fffff;
  if (exponent >= 31) return sign | LARGEST;
  if (exponent <= 0) {
    if (exponent < -10) return sign;
    return sign | roundShift(fraction | 0x800000, 14 - exponent);
  }
  return sign | Math.min(LARGEST, (exponent << 10) + roundShift(fraction, 13));
}

function roundShift(value: number, by: number): number {
  const kept = value >>> by;
  const rest = value & ((1 << by) - 1);
  const middle = 1 << (by - 1);
  return rest > middle || (rest === middle && kept % 2 === 1) ? kept + 1 : kept;
}
