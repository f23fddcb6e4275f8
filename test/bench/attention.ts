/**
 * Attention in tiles beside the form that holds all scores: peak memory and time of a forward and a backward pass.
 *   node --conditions=kenpin-source test/bench/attention.ts [--tokens 4096] [--heads 3] [--out FILE]
 * Each form runs in a process of its own. Memory is what its peak resident size (VmHWM) grew by over the pass, and the largest
 * count of bytes by tfjs. "plain" is written in tfjs's own operations with tfjs's own gradient; "whole" is this engine's form
 * for short sequences. Prints JSON: figures, each form's share of the plain one's memory, and the largest difference of output
 * and gradients from the plain form's, as a share of the largest number.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { createAttention } from "../../cloud-trainer/src/train/engines/tfjs/attention.ts";
import { loadBackend, type Tensor, type Tensor4D } from "../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { TRAINER_ENVIRONMENT } from "../../cloud-trainer/src/train/trainer-environment.ts";
import { draw } from "../onnx/seeded-weights.ts";

const SIZE = 64;
const FORMS = ["plain", "whole", "tiled"] as const;
const { values } = parseArgs({
  options: {
    tokens: { type: "string", default: "4096" },
    heads: { type: "string", default: "3" },
    causal: { type: "boolean", default: false },
    form: { type: "string" },
    out: { type: "string" },
  },
});
const [tokens, heads] = [Number(values.tokens), Number(values.heads)];
const Figures = z.strictObject({ peakMb: z.number(), tfjsPeakMb: z.number(), milliseconds: z.number() });

if (values.form) await measure(values.form as (typeof FORMS)[number], values.out as string);
else compare();

function compare(): void {
  const folder = mkdtempSync(join(tmpdir(), "kenpin-attention-"));
  try {
    const runs = [values.causal, !values.causal].flatMap((causal) =>
      FORMS.map((form) => ({ ...run(form, causal, join(folder, form)), causal })),
    );
    const results = runs.map(({ numbers, ...run }) => {
      const plain = runs.find((one) => one.form === "plain" && one.causal === run.causal) as (typeof runs)[number];
      const scale = plain.numbers.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const off = numbers.reduce((most, value, i) => Math.max(most, Math.abs(value - (plain.numbers[i] as number))), 0);
      return {
        ...run,
        shareOfPlain: run.peakMb / plain.peakMb,
        tfjsShareOfPlain: run.tfjsPeakMb / plain.tfjsPeakMb,
        largestDifference: off / scale,
      };
    });
    const report = { bench: "attention", tokens, heads, headDim: SIZE, cpu: cpus()[0]?.model, node: process.version, results };
    const text = `${JSON.stringify(report, null, 2)}\n`;
    if (values.out) writeFileSync(values.out, text);
    process.stdout.write(text);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(form: string, causal: boolean, out: string) {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning", import.meta.filename];
  const args = [
    ...flags,
    "--form",
    form,
    "--tokens",
    values.tokens,
    "--heads",
    values.heads,
    "--out",
    out,
    ...(causal ? ["--causal"] : []),
  ];
  // The allocator's own settings: what it keeps is not what the pass needs.
  const environment = Object.fromEntries(Object.entries(TRAINER_ENVIRONMENT).filter(([key]) => !key.startsWith("MALLOC_")));
  const child = spawnSync(process.execPath, args, {
    env: { ...process.env, ...environment },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.status !== 0) throw new RangeError(`the form "${form}" ended with code ${child.status}`);
  const bytes = readFileSync(out);
  return { form, ...Figures.parse(JSON.parse(child.stdout)), numbers: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4) };
}

async function measure(form: (typeof FORMS)[number], out: string): Promise<void> {
  const { tf } = await loadBackend();
  const tensor = (name: string, shape: [number, number, number, number]) =>
    tf.tensor4d(
      Float32Array.from(
        draw(
          name,
          shape.reduce((a, b) => a * b),
        ),
      ),
      shape,
    );
  const columns: [number, number, number, number] = [1, heads, SIZE, tokens];
  const rows: [number, number, number, number] = [1, heads, tokens, SIZE];
  const [q, k, v, dOut] = [tensor("q", rows), tensor("k", rows), tensor("v", columns), tensor("dOut", columns)];
  const pass = form === "plain" ? plainPass : ownPass(form);
  tf.dispose(
    pass(...([q, k, v, dOut].map((x) => tf.slice(x, [0, 0, 0, 0], [1, heads, SIZE, SIZE])) as [Tensor4D, Tensor4D, Tensor4D, Tensor4D])),
  );
  const before = kilobytes("VmRSS");
  const began = performance.now();
  let results: Tensor[] = [];
  const { peakBytes } = await tf.profile(() => {
    results = pass(q, k, v, dOut);
    return tf.scalar(0);
  });
  const milliseconds = performance.now() - began;
  const peakMb = (kilobytes("VmHWM") - before) / 1024;
  writeFileSync(out, Buffer.concat(results.map((one) => Buffer.from((one.dataSync() as Float32Array).slice().buffer))));
  process.stdout.write(JSON.stringify({ peakMb, tfjsPeakMb: peakBytes / 2 ** 20, milliseconds }));

  function plainPass(...[a, b, c, d]: [Tensor4D, Tensor4D, Tensor4D, Tensor4D]): Tensor[] {
    const later = values.causal ? tf.linalg.bandPart(tf.fill([a.shape[2], a.shape[2]], -1e9), 0, -1) : null;
    const diagonal = later ? tf.linalg.bandPart(later, 0, 0) : null;
    const attention = (x: Tensor, y: Tensor, z: Tensor) => {
      const scores = tf.matMul(x, y, false, true);
      return tf.matMul(z, tf.softmax(later && diagonal ? tf.add(scores, tf.sub(later, diagonal)) : scores), false, true);
    };
    const { value, grads } = tf.valueAndGrads(attention as never)([a, b, c], d);
    return [value, ...grads];
  }

  function ownPass(which: "whole" | "tiled") {
    const { forward, backward } = createAttention(tf, { causal: values.causal, ...(which === "whole" && { tile: tokens }) });
    return (...[a, b, c, d]: [Tensor4D, Tensor4D, Tensor4D, Tensor4D]): Tensor[] => {
      const { out: value, kept } = forward(a, b, c);
      const { dq, dk, dv } = backward(d, kept);
      tf.dispose(kept.slice(4));
      return [value, dq, dk, dv];
    };
  }
}

function kilobytes(field: "VmRSS" | "VmHWM"): number {
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
}
