/**
 * Tuning from end to end, in a process of its own as the hub starts it: a dozen labelled frames of real cloth, eight seconds
 * of training, a bundle's files, a judgement on frames that no step saw.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { proveGolden, startInspector } from "@kenpin/inspector";
import { type BundleManifest, RunProgress } from "@kenpin/schema";
import { holdOut } from "../../cloud-trainer/src/samples/labelled.ts";
import { type TrainingSample, TuneJob, TuneResult } from "../../cloud-trainer/src/tune-job.ts";
import { readWeightsFolder } from "../../cloud-trainer/src/weights-folder.ts";
import { inFolder, runKenpin } from "./import/seeded-checkpoint.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const BASE = join(ROOT, "cloud-trainer/base");
const WORDS = { good: ["flawless woven fabric"], bad: ["a hole in fabric", "torn fabric"] };

/** Four good and four bad frames to learn from, two of each that will be held out. */
const samples = [...chosen("good"), ...chosen("local")];

test("a run folder with labelled frames becomes a tuned model, a bundle's files, and figures of frames it never saw", async () => {
  await inFolder(async (dir) => {
    await placeJob(dir, samples);
    const { code, stdout, stderr } = await runKenpin(["tune", "--run", dir]);
    assert.equal(code, 0, stderr);

    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => RunProgress.parse(JSON.parse(line)));
    const stages = [...new Set(lines.map(({ stage }) => stage))];
    const expected = [
      "reading the labelled frames",
      "making surfaces",
      "pretrain",
      "train",
      "making surfaces to replay",
      "tune",
      "the teacher looks",
      "distill",
      "staging the bundle",
      "comparing student and teacher",
      "8 bits",
      "judging held-out frames",
    ];
    assert.deepEqual(
      expected.filter((stage) => !stages.includes(stage)),
      [],
    );
    const training = lines.filter(({ loss }) => loss !== null);
    for (const { step, steps, loss, imagesPerSecond, secondsLeft } of training) {
      assert.ok(step >= 1 && step <= steps && loss !== null && Number.isFinite(loss));
      assert.ok((imagesPerSecond ?? 0) > 0 && (secondsLeft ?? -1) >= 0);
    }

    const result = TuneResult.parse(JSON.parse(await readFile(join(dir, "result.json"), "utf8")));
    assert.equal(result.heldOut.images, 4);
    assert.ok(result.heldOut.auroc !== null && result.heldOut.auroc >= 0 && result.heldOut.auroc <= 1);
    assert.ok(result.training.steps >= 1 && result.training.samplesSeen > 0);
    assert.deepEqual(
      result.data.map(({ images }) => images),
      [8],
    );
    assert.deepEqual(
      result.training.stages.map(({ stage }) => stage),
      ["pretrain", "train", "tune", "distill"],
    );
    const metrics = (await readFile(join(dir, "training/3-tune/metrics.jsonl"), "utf8")).trim().split("\n");
    const steps = metrics.filter((line) => "loss" in JSON.parse(line));
    assert.equal(steps.length, result.training.stages[2]?.steps);
    const { shipped, parameters, why } = result.training.student;
    assert.ok(parameters.student < parameters.teacher && why.includes(shipped ? "stands in" : "the student"));
    const { int8 } = result.training;
    assert.equal(int8.shipped, int8.shortfalls.length === 0);
    assert.equal(result.manifest.precision, int8.shipped ? "int8" : "fp32");
    assert.equal(result.manifest.parameters, shipped ? parameters.student : parameters.teacher);

    await labelsMovedOnlyTheImageTower(join(dir, "model"));
    await provesItself(join(dir, "staged"), result);
  });
});

test("with bad frames only among the held out and the altered, tuning says so in a line each and leaves no result", async () => {
  await inFolder(async (dir) => {
    const good = samples.filter(({ label }) => label === "good");
    const heldOut = holdOut(samples).judge.filter(({ label }) => label === "bad");
    const altered = { ...(samples.at(-6) as TrainingSample), sha256: "a".repeat(64), reason: "undecided" as const };
    assert.equal(altered.label, "bad");
    await placeJob(dir, [...good, ...heldOut, altered]);
    const { code, stderr } = await runKenpin(["tune", "--run", dir]);
    assert.equal(code, 1);
    const [first, second, ...rest] = stderr.split("\n");
    assert.equal(first, "sample aaaaaaaaaaaa is left out: its bytes are not those that were labelled");
    assert.match(second ?? "", /^kenpin: tuning needs good and bad frames; 4 good and 0 bad are labelled: .*\[too-few-labels\]$/);
    assert.deepEqual(rest, [""]);
    assert.deepEqual(await readdir(dir), ["job.json"]);
  });
});

test("a job with a misspelt key is refused by the key's name", async () => {
  await inFolder(async (dir) => {
    await writeFile(join(dir, "job.json"), JSON.stringify({ ...job(samples), budgetSecond: 5 }));
    const { code, stderr } = await runKenpin(["tune", "--run", dir]);
    assert.equal(code, 1);
    assert.match(stderr, /^kenpin: [^ ]*job\.json: unknown key "budgetSecond", did you mean "budgetSeconds"\? \[invalid-input\]\n$/);
  });
});

/** Labels move the image tower alone: words keep the meaning they had before anybody labelled anything. */
async function labelsMovedOnlyTheImageTower(modelDir: string): Promise<void> {
  // Contrast on surfaces moves the text tower a little; tuning on labels and distillation do not move it at all.
  const training = join(modelDir, "../training");
  const [before, now] = [await readWeightsFolder(join(training, "2-train/model")), await readWeightsFolder(join(training, "3-tune/model"))];
  const shipped = await readWeightsFolder(modelDir);
  for (const [name, { data }] of shipped.tensors)
    if (name.startsWith("text.")) assert.deepEqual(data, before.tensors.get(name)?.data, name);
  let moved = 0;
  for (const [name, { data }] of now.tensors) {
    const old = before.tensors.get(name)?.data as Float32Array;
    assert.ok(data.every(Number.isFinite), name);
    if (name.startsWith("text.")) assert.deepEqual(data, old, name);
    else moved += Number(data.some((value, i) => value !== old[i]));
  }
  assert.ok(moved > 50, `${moved} weights moved`);
  const base = (await readWeightsFolder(BASE)).card.provenance;
  const student = (await readWeightsFolder(join(ROOT, "cloud-trainer/student"))).card.provenance;
  // Everything that any of its weights came from, once.
  const origins =
    shipped.config.image.depth === 2 ? [...base, ...student.filter(({ name }) => !base.some((row) => row.name === name))] : base;
  assert.deepEqual(shipped.card.provenance.slice(1), origins);
  const stages = (shipped.card["training"] as { stages: { stage: string; gflops: { trained: number } }[] }).stages;
  assert.deepEqual(stages.slice(0, 3).map(({ stage }) => stage), ["pretrain", "train", "tune"]); // biome-ignore format: one line
  assert.ok(stages.every(({ gflops }) => gflops.trained > 0));
  assert.match(shipped.card.provenance[0]?.source ?? "", /tune on 8 labelled frames/);
}

/** The files a hub will sign give the scores that the manifest will promise. */
async function provesItself(bundleDir: string, { manifest }: TuneResult): Promise<void> {
  await writeFile(join(bundleDir, "manifest.json"), JSON.stringify(manifest));
  const inspector = await startInspector({ bundleDir });
  try {
    assert.deepEqual(await proveGolden(inspector, bundleDir, manifest as BundleManifest), { ok: true });
  } finally {
    await inspector.close();
  }
}

async function placeJob(dir: string, some: TrainingSample[]): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "job.json"), JSON.stringify(job(some)));
}

function job(some: TrainingSample[]): TuneJob {
  return TuneJob.parse({ run: "r1", parentModel: BASE, words: WORDS, samples: some, budgetSeconds: 8, seed: 1 });
}

/** Four frames of a kind that will be learned from and two that will be held out, in the order of their digests. */
function chosen(kind: "good" | "local"): TrainingSample[] {
  const all = globSync(`examples/textile/${kind}/*`, { cwd: ROOT })
    .map((name) => ({
      file: join(ROOT, name),
      sha256: createHash("sha256")
        .update(readFileSync(join(ROOT, name)))
        .digest("hex"),
    }))
    .sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1))
    .map((frame) => ({
      ...frame,
      label: kind === "good" ? ("good" as const) : ("bad" as const),
      reason: "random" as const,
      drawProbability: 0.5,
    }));
  const { learn, judge } = holdOut(all);
  return [...learn.slice(0, 4), ...judge.slice(0, 2)];
}
