/**
 * The gradient cache: equal to the whole batch at 1,024 pairs, and what memory it takes from there to 32,768:
 *   node --conditions=kenpin-source test/bench/gradient-cache.ts [--sizes 1024,4096,32768] [--micro 64] [--out FILE]
 * Each size runs in a process of its own with small towers and patch dropout; pictures come from their number, so that data
 * needs no memory, and takes steps until as many pairs went through as the largest size has, so that all processes have done
 * the same work when they are compared. Prints JSON: seconds a step, peak resident memory (VmHWM), tfjs's largest count of
 * bytes, the bytes of cached embeddings, and the growth over the smallest size. At 1,024 also the largest relative distance
 * ‖cached − whole‖ / ‖whole‖ of any weight's gradient.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { createRandom } from "@kenpin/stats";
import { loadBackend, type Tensor2D } from "../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { cachedGradients } from "../../cloud-trainer/src/train/engines/tfjs/gradient-cache.ts";
import { createImageTower } from "../../cloud-trainer/src/train/engines/tfjs/image-tower.ts";
import { weight } from "../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { clipLoss } from "../../cloud-trainer/src/train/engines/tfjs/losses.ts";
import { gradientsOf } from "../../cloud-trainer/src/train/engines/tfjs/objective.ts";
import { createTextTower } from "../../cloud-trainer/src/train/engines/tfjs/text-tower.ts";
import { pairRelations } from "../../cloud-trainer/src/train/engines/tfjs/tiled-loss.ts";
import { drawTensors, toWeights } from "../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { smallConfig } from "../cloud-trainer/train/small-config.ts";

const CONFIG = smallConfig({
  name: "bench",
  embedDim: 128,
  image: { size: 32, width: 64, depth: 2, headDim: 32, mlpHidden: 128 },
  text: { width: 64, layers: 2, context: 8 },
});
const PIXELS = 3 * CONFIG.image.size ** 2;
const PATCHES = (CONFIG.image.size / CONFIG.image.patch) ** 2;
const KEPT = PATCHES / 2;
/** At which size the whole batch is compared with. */
const COMPARED = 1024;

const { values } = parseArgs({
  options: {
    sizes: { type: "string", default: "1024,8192,32768" },
    micro: { type: "string", default: "64" },
    pairs: { type: "string", default: "1" },
    one: { type: "string" },
    whole: { type: "boolean", default: false },
    out: { type: "string" },
  },
});
const micro = Number(values.micro);
if (values.one) process.stdout.write(`${JSON.stringify(await measure(Number(values.one), values.whole))}\n`);
else report();

function report(): void {
  const sizes = values.sizes.split(",");
  const results = sizes.map((size) => inOwnProcess(size, Math.max(...sizes.map(Number))));
  const first = results[0] as Figures;
  const growth = results.map(({ size, peakMb, tensorMb, embeddingsMb }) => ({
    size,
    residentMb: peakMb - first.peakMb,
    tensorsMb: tensorMb - first.tensorMb,
    embeddingsMb: embeddingsMb - first.embeddingsMb,
  }));
  const equal = inOwnProcess(String(COMPARED), COMPARED, true);
  const text = JSON.stringify(
    { bench: "gradient-cache", node: process.version, cpu: cpus()[0]?.model, cores: cpus().length, micro, results, growth, equal },
    null,
    2,
  );
  if (values.out) writeFileSync(values.out, `${text}\n`);
  process.stdout.write(`${text}\n`);
}

type Figures = { size: number; seconds: number; peakMb: number; tensorMb: number; embeddingsMb: number; loss: number; off?: number };

function inOwnProcess(size: string, pairs: number, whole = false): Figures {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const args = [
    ...flags,
    import.meta.filename,
    "--one",
    size,
    "--micro",
    values.micro,
    "--pairs",
    String(pairs),
    ...(whole ? ["--whole"] : []),
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`the run of ${size} pairs ended with code ${String(status)}: ${stderr}`);
  return JSON.parse(stdout) as Figures;
}

async function measure(size: number, compared: boolean): Promise<Figures> {
  const { tf } = await loadBackend();
  const weights = toWeights(tf, drawTensors(CONFIG, 5));
  const [image, text] = [createImageTower(tf, CONFIG), createTextTower(tf, CONFIG)];
  const side = CONFIG.image.size;
  let tensorBytes = 0;
  const look = () => {
    tensorBytes = Math.max(tensorBytes, tf.memory().numBytes);
  };
  const embed = (from: number, count: number) => {
    const pixels = tf.tensor4d(pixelsOf(from, count), [count, 3, side, side]);
    const kept = tf.tensor2d(keptOf(from, count), [count, KEPT], "int32");
    look();
    return { image: image.embed(weights, pixels, { kept }).imageEmbeds, text: text(weights, idsOf(from, count)) as Tensor2D };
  };
  const scale = () => tf.exp(weight(weights, "logit_scale"));
  const pairs = pairRelations(tf);
  const step = () =>
    cachedGradients(tf, weights, {
      microBatches: size / micro,
      embed: (index) => embed(index * micro, micro),
      relations: (rows, columns) => {
        look();
        return pairs(rows, columns);
      },
      kind: "infonce",
      scale,
    });
  const started = performance.now();
  const steps = Math.max(1, Math.round(Number(values.pairs) / size));
  let made = step();
  for (let i = 1; i < steps; i++) {
    tf.dispose([made.loss, ...made.gradients.values(), ...Object.values(made.parts ?? {})]);
    made = step();
  }
  const seconds = (performance.now() - started) / 1000 / steps;
  const peakMb = Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
  const embeddingsMb = (2 * size * CONFIG.embedDim * 4) / 2 ** 20; // images and texts in float32
  const figures = { size, seconds, peakMb, tensorMb: tensorBytes / 2 ** 20, embeddingsMb, loss: made.loss.dataSync()[0] as number };
  if (!compared) return figures;
  const whole = gradientsOf<null>(tf, weights, () => {
    const { image: images, text: texts } = embed(0, size);
    return clipLoss(tf, images, texts, scale());
  })(null);
  const off = Math.max(
    ...[...whole.gradients].map(([name, gradient]) => {
      const difference = tf.norm(tf.sub(made.gradients.get(name) ?? Number.NaN, gradient)).dataSync()[0] as number;
      return difference / (tf.norm(gradient).dataSync()[0] as number);
    }),
  );
  return { ...figures, off };
}

function pixelsOf(from: number, count: number): Float32Array {
  const pixels = new Float32Array(count * PIXELS);
  for (let i = 0; i < count; i++) {
    const { normal } = createRandom(1 + from + i);
    for (let j = 0; j < PIXELS; j++) pixels[i * PIXELS + j] = normal();
  }
  return pixels;
}

/** Half of the patches, each picture its own. */
function keptOf(from: number, count: number): Int32Array {
  return Int32Array.from({ length: count * KEPT }, (_, i) => (from + Math.floor(i / KEPT) + (i % KEPT) * 2) % PATCHES);
}

function idsOf(from: number, count: number): Int32Array[] {
  return Array.from({ length: count }, (_, i) => {
    const number = from + i;
    return Int32Array.of(512, number % 256, Math.floor(number / 256) % 256, 97, 98, 513, 0, 0);
  });
}
