/**
 * The weights and inputs of the golden towers, drawn again exactly as test/fixtures/clip/make_towers.py draws them:
 * a 32-bit mix of a counter that starts at the FNV-1a hash of the tensor's name.
 */
import { type ModelConfig, type Tensor, tensorShapes } from "@kenpin/clip";

export function draw(name: string, size: number): Float64Array {
  let start = 2166136261;
  for (const byte of new TextEncoder().encode(name)) start = Math.imul(start ^ byte, 16777619);
  return Float64Array.from({ length: size }, (_, i) => {
    let x = (start + i) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    return ((x ^ (x >>> 16)) >>> 0) / 2147483648 - 1;
  });
}

export function seededTensors(config: ModelConfig): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [name, shape] of tensorShapes(config)) tensors.set(name, { shape, data: Float32Array.from(seededTensor(name, shape)) });
  return tensors;
}

export function seededTensor(name: string, shape: number[]): Float64Array {
  const size = shape.reduce((product, n) => product * n, 1);
  const random = draw(name, size);
  if (name === "logit_scale") return Float64Array.of(Math.log(1 / 0.07));
  if (/(token_embedding\.weight|pos_embed|positional_embedding|cls_token)$/.test(name)) return random.map((u) => 0.5 * u);
  if (shape.length === 1) return random.map((u) => 0.1 * u + (name.endsWith(".weight") ? 1 : 0));
  const inputs = name.endsWith("text_projection") ? (shape[0] as number) : shape.slice(1).reduce((product, n) => product * n, 1);
  return random.map((u) => (u * 1.5) / Math.sqrt(inputs));
}

export function goldenPixels(config: ModelConfig, count: number): Float32Array {
  return Float32Array.from(draw("pixels", count * 3 * config.image.size ** 2).map((u) => 2 * u));
}

/** Three rows of token ids: start, words, end, zeros. */
export function goldenIds(config: ModelConfig): BigInt64Array {
  const { context, merges } = config.text;
  const vocabulary = 514 + merges;
  const ids = new BigInt64Array(3 * context);
  for (const [row, length] of [3, 11, context].entries()) {
    const words = draw(`ids${row}`, length).map((u) => Math.trunc(((u + 1) / 2) * (vocabulary - 2)));
    for (const [i, word] of words.entries()) ids[row * context + i] = BigInt(word);
    ids[row * context] = BigInt(vocabulary - 2);
    ids[row * context + length - 1] = BigInt(vocabulary - 1);
  }
  return ids;
}
