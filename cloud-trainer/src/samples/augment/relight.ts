/**
 * The same square as another exposure, lens or file might give it: brightness, contrast, saturation, gamma, a slight blur,
 * the sensor's noise, JPEG. In: planes [3, S, S] in [0, 1], amounts, random numbers. Out: new planes of the same shape.
 * Blur, noise and JPEG come with some pictures only: a model that never saw a clean one would miss fine defects.
 */
import type { Random } from "@kenpin/stats";
import sharp from "sharp";

export type Amounts = {
  /** Largest change, as a share: 0.1 multiplies by 0.9 to 1.1. */
  brightness: number;
  contrast: number;
  saturation: number;
  /** Largest change of the exponent's logarithm. */
  gamma: number;
  /** Largest standard deviation of the blur in pixels of the square, and of the noise in shares of white. */
  blur: number;
  noise: number;
  /** Lowest quality a JPEG is packed with; 100 packs none. */
  jpegQuality: number;
  /** How often each of the last three comes. */
  often: number;
};

const GAMMA_STEPS = 4096;
const BEST_QUALITY = 95;

/** Strength 0 changes nothing, 1 as much as light on a shop floor may change in a year. */
export function amountsOf(strength: number): Amounts {
  return {
    brightness: 0.4 * strength,
    contrast: 0.4 * strength,
    saturation: 0.4 * strength,
    gamma: 0.4 * strength,
    blur: 1.5 * strength,
    noise: 0.08 * strength,
    jpegQuality: 100 - 65 * strength,
    often: strength > 0 ? 0.3 : 0,
  };
}

export async function relight(planes: Float32Array, size: number, amounts: Amounts, random: Random): Promise<Float32Array> {
  const around = (amount: number) => random.between(1 - amount, 1 + amount);
  const [brightness, contrast, saturation] = [around(amounts.brightness), around(amounts.contrast), around(amounts.saturation)];
  const gamma = Math.exp(random.between(-amounts.gamma, amounts.gamma));
  const [blurs, hasNoise, packs] = [random.next() < amounts.often, random.next() < amounts.often, random.next() < amounts.often];
  const isStill = brightness === 1 && contrast === 1 && saturation === 1 && gamma === 1;
  const out = isStill ? planes.slice() : tone(planes, { brightness, contrast, saturation, gamma });
  if (blurs && amounts.blur > 0) blur(out, size, random.between(0, amounts.blur));
  if (hasNoise && amounts.noise > 0) addNoise(out, random.between(0, amounts.noise), random);
  if (!packs || amounts.jpegQuality >= BEST_QUALITY) return out;
  return throughJpeg(out, size, Math.round(random.between(amounts.jpegQuality, BEST_QUALITY)));
}

type Tone = Record<"brightness" | "contrast" | "saturation" | "gamma", number>;

/** Brightness about black, contrast about the mean grey level, saturation about each pixel's grey, then the exponent. */
function tone(planes: Float32Array, { brightness, contrast, saturation, gamma }: Tone): Float32Array {
  const area = planes.length / 3;
  const curve = Float32Array.from({ length: GAMMA_STEPS + 1 }, (_, i) => (i / GAMMA_STEPS) ** gamma);
  const out = new Float32Array(planes.length);
  const greyAt = (p: number) =>
    0.299 * (planes[p] as number) + 0.587 * (planes[area + p] as number) + 0.114 * (planes[2 * area + p] as number);
  let mean = 0;
  for (let p = 0; p < area; p++) mean += greyAt(p) / area;
  for (let p = 0; p < area; p++) {
    const grey = greyAt(p);
    for (let at = p; at < out.length; at += area) {
      const saturated = grey + saturation * ((planes[at] as number) - grey);
      const level = Math.min(1, Math.max(0, brightness * (mean + contrast * (saturated - mean))));
      out[at] = gamma === 1 ? level : (curve[Math.round(level * GAMMA_STEPS)] as number);
    }
  }
  return out;
}

/** Gaussian, one axis after the other, in place; the border repeats. */
function blur(planes: Float32Array, size: number, sigma: number): void {
  const reach = Math.ceil(3 * sigma);
  const kernel = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)));
  const total = kernel.reduce((sum, weight) => sum + weight, 0);
  const line = new Float32Array(size);
  const smooth = (start: number, step: number) => {
    for (let i = 0; i < size; i++) {
      let sum = 0;
      for (let j = -reach; j <= reach; j++) {
        const near = Math.min(size - 1, Math.max(0, i + j));
        sum += (kernel[j + reach] as number) * (planes[start + near * step] as number);
      }
      line[i] = sum / total;
    }
    for (let i = 0; i < size; i++) planes[start + i * step] = line[i] as number;
  };
  for (let start = 0; start < planes.length; start += size * size) {
    for (let y = 0; y < size; y++) smooth(start + y * size, 1);
    for (let x = 0; x < size; x++) smooth(start + x, size);
  }
}

function addNoise(planes: Float32Array, sd: number, random: Random): void {
  for (let i = 0; i < planes.length; i++) planes[i] = Math.min(1, Math.max(0, (planes[i] as number) + sd * random.normal()));
}

async function throughJpeg(planes: Float32Array, size: number, quality: number): Promise<Float32Array> {
  const area = size * size;
  const bytes = new Uint8Array(3 * area);
  for (let p = 0; p < area; p++) for (let c = 0; c < 3; c++) bytes[p * 3 + c] = Math.round((planes[c * area + p] as number) * 255);
  const jpeg = await sharp(bytes, { raw: { width: size, height: size, channels: 3 } })
    .jpeg({ quality })
    .toBuffer();
  const data = await sharp(jpeg).raw().toBuffer();
  const out = new Float32Array(planes.length);
  for (let p = 0; p < area; p++) for (let c = 0; c < 3; c++) out[c * area + p] = (data[p * 3 + c] as number) / 255;
  return out;
}
