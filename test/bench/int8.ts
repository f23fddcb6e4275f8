/**
 * `npm run bench:int8`: EVA02-B-16's image tower in 8 bits by torch.onnx.export + quantize_dynamic and by kenpin's quantizer,
 * in one onnxruntime, batch 1, two threads, in turns; the same with outlier weights, also on a processor without VNNI; and the shipped models a frame. Weights
 * are seeded: time does not depend on them.
 *
 * Prints a table, writes int8.json and int8.svg into --out. It goes in parts, whose results stay in --work until all are
 * there: a run that was broken off, or left after --minutes (exit code 75), goes on where it was.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { MODEL, type Frames, type Measured, type Part, partsOf, type Timed } from "./int8-parts.ts";
import { type Bar, barChart } from "./int8-chart.ts";
import type { WithoutVnni } from "./int8-haswell.ts";
import { findPython } from "./int8-python.ts";

type Results = Record<string, unknown>;

const ROOT = join(import.meta.dirname, "../..");
/** As sysexits.h has it: try again. */
const UNFINISHED = 75;
const LABELS: Record<string, string> = {
  std: "torch.onnx, float32",
  float: "kenpin, float32",
  std8: "torch.onnx + quantize_dynamic",
  "int8-dynamic": "kenpin, int8-dynamic",
  "int8-static": "kenpin, int8-static",
};
const { values } = parseArgs({
  options: {
    work: { type: "string", default: "runs/bench-int8/work" },
    out: { type: "string", default: "runs/bench-int8" },
    rounds: { type: "string", default: "20" },
    minutes: { type: "string", default: "1000" },
    keep: { type: "boolean", default: false },
  },
});

const say = (line: string) => process.stderr.write(`${line}\n`);
await main();

async function main(): Promise<void> {
  const python = findPython(say);
  if ("missing" in python) {
    say(`bench:int8 cannot compare with the standard route: ${python.missing}`);
    process.exitCode = 1;
    return;
  }
  const work = resolve(ROOT, values.work);
  await mkdir(work, { recursive: true });
  const parts = partsOf({ python, dir: work, rounds: Number(values.rounds), say });
  const results = await runParts(parts, join(work, "results.json"), Date.now() + Number(values.minutes) * 60_000);
  if (results === null) {
    process.exitCode = UNFINISHED;
    return;
  }
  await writeReport(results);
  if (!values.keep) await rm(work, { recursive: true });
}

/** Each part's answer is on disk before the next begins. Null: time is up and parts are left. */
async function runParts(parts: readonly Part[], file: string, until: number): Promise<Results | null> {
  const results = existsSync(file) ? (JSON.parse(await readFile(file, "utf8")) as Results) : {};
  const left = parts.filter(({ name }) => !(name in results));
  if (left.length < parts.length) say(`goes on where it was: ${parts.length - left.length} of ${parts.length} parts are in ${file}`);
  for (const [i, { name, minutes, run }] of left.entries()) {
    // One part at least, or it would never end.
    if (i > 0 && Date.now() + minutes * 60_000 > until) {
      say(`${left.length - i} of ${parts.length} parts are left (next: ${name}, about ${minutes} min); run it again to go on`);
      return null;
    }
    say(`${parts.length - left.length + i + 1} of ${parts.length}: ${name}, about ${minutes} min`);
    results[name] = (await run()) ?? null;
    await writeFile(file, JSON.stringify(results));
  }
  return results;
}

async function writeReport(results: Results): Promise<void> {
  const [plain, outliers] = [results["plain-timing"] as Timed, results["outliers-timing"] as Timed];
  const frames = { student: results["frame-student"] as Frames, base: results["frame-base"] as Frames };
  const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length };
  const without = results["without-vnni"] as WithoutVnni;
  const report = { bench: "int8", model: MODEL, ...machine, threads: 2, ...plain, outliers: outliers.models, frames, withoutVnni: without };
  const out = resolve(ROOT, values.out);
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "int8.json"), `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(join(out, "int8.svg"), chart(plain));
  process.stdout.write(table(plain, outliers, frames, without));
}

function table({ models, onnxruntime }: Timed, outliers: Timed, frames: Record<string, Frames>, without: WithoutVnni): string {
  const row = (name: string) => {
    const { msMedian, msLeast, bytes, cosineMean, cosineLeast } = models[name] as Measured;
    const against = name === "float" ? "std" : "std8";
    const faster = name.startsWith("std") ? "" : `${((models[against]?.msMedian as number) / msMedian).toFixed(2)}×`;
    const other = outliers.models[name] as Measured;
    const cells = [
      LABELS[name],
      msMedian.toFixed(1),
      msLeast.toFixed(1),
      faster,
      (bytes / 1e6).toFixed(1),
      cosineMean.toFixed(5),
      cosineLeast.toFixed(5),
      other.cosineMean.toFixed(5),
    ];
    return `| ${cells.join(" | ")} |`;
  };
  const perFrame = Object.entries(frames).flatMap(([model, { tiles, ms }]) =>
    Object.entries(ms).map(([format, time]) => `| ${model}, ${format} | ${tiles} | ${time.toFixed(1)} |`),
  );
  return [
    `${MODEL} image tower, batch 1, two threads, onnxruntime ${onnxruntime}, ${cpus()[0]?.model} (${cpus().length} cores)`,
    "",
    "| route | median ms | least ms | faster than the standard route | MB | cosine to float32, mean | least | mean with outlier weights |",
    "|---|---|---|---|---|---|---|---|",
    ...Object.keys(LABELS).map(row),
    "",
    "| shipped model, one 250-pixel frame | tiles | inference ms |",
    "|---|---|---|",
    ...perFrame,
    "",
    ...withoutVnniTable(without),
    "",
  ].join("\n");
}

function withoutVnniTable(without: WithoutVnni): string[] {
  if ("skipped" in without) return [`not run on a processor without VNNI: ${without.skipped}`];
  return [
    "| emulated Haswell, outlier weights | least cosine to float32 |",
    "|---|---|",
    ...Object.entries(without.cosineLeast).map(([name, cosine]) => `| ${name} | ${cosine.toFixed(5)} |`),
  ];
}

function chart({ models }: Timed): string {
  const bars: Bar[] = Object.keys(LABELS).map((name) => {
    const { msMedian, cosineMean } = models[name] as Measured;
    return {
      label: LABELS[name] as string,
      ms: msMedian,
      note: name.startsWith("std") && name !== "std8" ? "" : `cosine ${cosineMean.toFixed(4)}`,
    };
  });
  return barChart(`${MODEL} image tower, one picture, two threads`, bars);
}
