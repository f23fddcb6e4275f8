/**
 * Number formats of a checkpoint's tensors and float32, both ways.
 * F16 is IEEE 754 binary16, BF16 the upper half of binary32; both are written with rounding to the nearest even number, as
 * PyTorch writes them. F64 is only read. Bytes are little-endian, as safetensors and PyTorch's zip files lay them.
 */
export const FLOAT_BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2 } as const;
export type FloatFormat = keyof typeof FLOAT_BYTES;
export type WrittenFormat = Exclude<FloatFormat, "F64">;

const halves = halfTable();

/** May share memory with `bytes` when those are a buffer of their own; neither is written to afterwards. */
export function toFloat32(bytes: Uint8Array, format: FloatFormat): Float32Array {
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  const buffer = (whole ? bytes : new Uint8Array(bytes)).buffer as ArrayBuffer;
  if (format === "F32") return new Float32Array(buffer);
  if (format === "F64") return Float32Array.from(new Float64Array(buffer));
  const from = new Uint16Array(buffer);
  const bits = new Uint32Array(from.length);
  if (format === "BF16") for (let i = 0; i < from.length; i++) bits[i] = (from[i] as number) << 16;
  else for (let i = 0; i < from.length; i++) bits[i] = halves[from[i] as number] as number;
  return new Float32Array(bits.buffer);
}

export function fromFloat32(values: Float32Array, format: WrittenFormat): Uint8Array {
  if (format === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  const convert = format === "BF16" ? toBrain : toHalf;
  for (let i = 0; i < bits.length; i++) out[i] = convert(bits[i] as number);
  return new Uint8Array(out.buffer);
}

/** The bits of binary32 for each of the 65,536 halves. */
function halfTable(): Uint32Array {
  return Uint32Array.from({ length: 65_536 }, (_, half) => {
    const sign = (half & 0x8000) << 16;
    const exponent = (half >>> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 31) return (sign | 0x7f800000 | (fraction << 13)) >>> 0;
    if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
    if (fraction === 0) return sign >>> 0;
    const shift = Math.clz32(fraction) - 21;
    return (sign | ((113 - shift) << 23) | (((fraction << shift) & 1023) << 13)) >>> 0;
  });
}

function toBrain(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // a quiet NaN stays one
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function toHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00; // 65,536 and more
  if (magnitude < 0x38800000) return sign | subnormalHalf(magnitude);
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** Below 2^-14 a half counts in steps of 2^-24. */
function subnormalHalf(magnitude: number): number {
  const exponent = magnitude >>> 23;
  const shift = 126 - exponent;
  if (shift > 24) return 0;
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const whole = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return whole + (rest > half || (rest === half && (whole & 1) === 1) ? 1 : 0);
}
