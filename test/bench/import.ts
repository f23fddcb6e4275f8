/**
 * How long `kenpin import` takes and how much memory, at full size:
 *   node --conditions=kenpin-source test/bench/import.ts EVA02-B-16 EVA02-L-14-336 [--format F32|F16|BF16] [--zeros] [--out FILE]
 * Writes a checkpoint of seeded numbers for each name (with --zeros a file of holes, which costs no disk and shows that 18 GB
 * need no memory), imports it as a user would, and prints JSON: seconds, peak resident memory (VmHWM), bytes in and out.
 */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { modelConfig, safetensorsStream, tensorShapes, type WrittenFormat } from "@kenpin/clip";
import { seededTensor } from "../onnx/seeded-weights.ts";

const CLI = join(import.meta.dirname, "../../cloud-trainer/src/cli.ts");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { format: { type: "string", default: "F32" }, zeros: { type: "boolean", default: false }, out: { type: "string" } },
});

const results = [];
for (const name of positionals) {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-bench-"));
  try {
    const checkpoint = join(dir, "model.safetensors");
    await (values.zeros ? writeHoles : writeSeeded)(checkpoint, name, values.format as WrittenFormat);
    results.push({ model: name, format: values.format, zeros: values.zeros, ...(await measure(checkpoint, name, join(dir, "model"))) });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
const report = { bench: "import", node: process.version, cpu: cpus()[0]?.model, cores: cpus().length, results };
if (values.out) await writeFile(values.out, `${JSON.stringify(report, null, 2)}\n`);
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);

async function writeSeeded(file: string, name: string, format: WrittenFormat): Promise<void> {
  const shapes = tensorShapes(modelConfig(name));
  const read = async (tensor: string) => Float32Array.from(seededTensor(tensor, shapes.get(tensor) as number[]));
  await pipeline(Readable.from(safetensorsStream({ shapes, read, format })), createWriteStream(file));
}

/** The header and a hole of the right length behind it. */
async function writeHoles(file: string, name: string, format: WrittenFormat): Promise<void> {
  const shapes = tensorShapes(modelConfig(name));
  const stream = safetensorsStream({ shapes, read: async () => new Float32Array(), format });
  const head = (await stream.next()).value as Uint8Array;
  await writeFile(file, head);
  let bytes = head.length;
  for (const shape of shapes.values()) bytes += shape.reduce((size, n) => size * n, format === "F32" ? 4 : 2);
  await truncate(file, bytes);
}

async function measure(checkpoint: string, name: string, out: string) {
  const started = performance.now();
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const child = spawn(process.execPath, [...flags, CLI, "import", checkpoint, "--model", name, "--out", out], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  let peakKb = 0;
  const watch = setInterval(() => {
    void readFile(`/proc/${child.pid}/status`, "utf8").then(
      (text) => {
        peakKb = Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? peakKb);
      },
      () => {},
    );
  }, 20);
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearInterval(watch);
  const seconds = (performance.now() - started) / 1000;
  if (code !== 0) throw new Error(`the import of ${name} ended with code ${String(code)}`);
  let bytesOut = 0;
  for (const file of await readdir(out)) bytesOut += (await stat(join(out, file))).size;
  return { seconds: Number(seconds.toFixed(2)), peakMb: Math.round(peakKb / 1024), bytesIn: (await stat(checkpoint)).size, bytesOut };
}
