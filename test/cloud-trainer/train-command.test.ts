/** `kenpin train` as a user types it: all four stages in one run, stopped and gone on with, and every way to be refused. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { z } from "zod";
import { readWeightsFolder } from "../../cloud-trainer/src/weights-folder.ts";
import { inFolder, runKenpin, startKenpin } from "./import/seeded-checkpoint.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const SMALL_RATES = "{ rates: { image: 0.003, text: 0.0003, other: 0.003 }, plainShare: 0.1, warmup: 2, clipNorm: 1 }";

const recipe = (steps: number) => `
name: all four
licence: Apache-2.0
start: { weights: ${join(ROOT, "cloud-trainer/base")} }
stages:
  - { stage: pretrain, steps: ${steps}, batch: 4, checkpointEvery: 2, optimizer: ${SMALL_RATES}, data: { generated: { surfaces: 64 } } }
  - { stage: train, steps: ${steps}, batch: 8, microBatch: 4, checkpointEvery: 2, optimizer: ${SMALL_RATES}, data: { generated: { surfaces: 64 } } }
  - { stage: tune, steps: ${steps}, checkpointEvery: 2, sizes: { crops: 2, replay: 2, frames: 2 }, replaySurfaces: 64, optimizer: ${SMALL_RATES}, data: { sets: [frames] } }
  - { stage: distill, steps: ${steps}, batch: 4, views: 1, checkpointEvery: 2, student: { model: kenpin-xs-8 }, optimizer: ${SMALL_RATES}, data: { sets: [frames], generated: { surfaces: 64 } } }
`;

test("all four stages run from one recipe; a run that is killed and started again ends with the very same weights", async () => {
  await inFolder(async (dir) => {
    const file = await place(dir, recipe(4));
    const whole = await runKenpin(["train", file, "--out", join(dir, "whole"), "--json"]);
    assert.equal(whole.code, 0, whole.stderr);
    const lines = whole.stdout.trim().split("\n").map((line) => JSON.parse(line)); // biome-ignore format: one line
    assert.deepEqual(lines[0].plan.stages.map(({ stage }: { stage: string }) => stage), ["pretrain", "train", "tune", "distill"]); // biome-ignore format: one line
    const told = new Set(lines.map(({ stage }) => stage));
    for (const stage of ["pretrain", "train", "tune", "distill"]) assert.ok(told.has(stage), stage);

    const model = await readWeightsFolder(join(dir, "whole/model"));
    assert.equal(model.config.image.depth, 2);
    assert.deepEqual(model.card.provenance[0]?.licence, "Apache-2.0");
    assert.match(model.card.provenance[0]?.source ?? "", /pretrain on 64 generated surfaces; train on .*; tune on 8 frames; distill on/);
    const training = Training.parse(model.card["training"]);
    for (const { gflops, samplesSeen } of training.stages) assert.ok(gflops.trained > 0 && samplesSeen > 0);
    assert.ok((training.stages[0]?.gflops.teacher ?? 0) > 0, "the teacher of masked image modelling is charged too");

    const out = join(dir, "killed");
    for (const folder of ["1-pretrain", "3-tune"]) {
      const child = startKenpin(["train", file, "--out", out, "--json"]);
      await until(async () => (await checkpointsIn(join(out, folder))) > 1);
      child.kill("SIGKILL"); // the process that trains sees its parent go, and ends
      await child.ended;
    }
    const again = await runKenpin(["train", file, "--out", out, "--json"]);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /resumed/);
    assert.equal(await digestOf(join(out, "model/model.safetensors")), await digestOf(join(dir, "whole/model/model.safetensors")));

    const other = await runKenpin(["train", await place(dir, recipe(5)), "--out", out]);
    assert.equal(other.code, 1);
    assert.match(other.stderr, /holds a run of another recipe.*\[other-recipe\]\n$/);
  });
});

test("a plan says what each stage will take and trains nothing; a long run is not begun unasked", async () => {
  await inFolder(async (dir) => {
    const file = await place(dir, recipe(2_000_000));
    const plan = await runKenpin(["train", file, "--plan"]);
    assert.equal(plan.code, 0, plan.stderr);
    assert.match(plan.stderr, /pretrain +2000000 steps +8000000 pictures .* GFLOPs .* h .* MB\n(.*\n)+ {2}in all [\d.]+ h, at most \d+ MB/);
    const run = await runKenpin(["train", file, "--out", join(dir, "out")]);
    assert.equal(run.code, 1);
    assert.match(run.stderr, /foreseen to take [\d.]+ h; say --yes to start it without being asked \[not-agreed\]\n$/);
    assert.deepEqual((await readdir(dir)).sort(), ["frames", "recipe.yaml"]);
  });
});

test("what cannot be trained on is said in one line, before the first step", async () => {
  await inFolder(async (dir) => {
    const train = async (text: string) => {
      const out = join(dir, `out-${Math.random()}`);
      const { code, stderr } = await runKenpin(["train", await place(dir, text), "--out", out]);
      assert.equal(code, 1);
      return stderr.trim().split("\n").at(-1) ?? "";
    };
    const stage = (more: string) =>
      `name: x\nstart: { weights: ${join(ROOT, "cloud-trainer/base")} }\nstages:\n  - { steps: 2, batch: 2, ${more} }\n`;
    assert.match(await train(stage("stage: train, data: { sets: [frames] }")), /needs captions: .*\[no-captions\]/);
    assert.match(await train(stage("stage: tune, data: { sets: [nowhere] }")), /nowhere cannot be opened .*\[set-missing\]/);
    assert.match(
      await train(stage("stage: distill, student: { model: kenpin-s-9 }, data: { sets: [frames] }")),
      /no model is called "kenpin-s-9"; known: /,
    );
    assert.match(await train(stage("stage: distill, student: { model: EVA02-B-16 }, data: { sets: [frames] }")), /\[student-mismatch\]/);
    await mkdir(join(dir, "good-only/good"), { recursive: true });
    await cp(join(dir, "frames/good"), join(dir, "good-only/good"), { recursive: true });
    assert.match(await train(stage("stage: tune, data: { sets: [good-only] }")), /4 good and 0 bad are labelled.*\[too-few-labels\]/);
    await mkdir(join(dir, "broken/good"), { recursive: true });
    await writeFile(join(dir, "broken/good/a.png"), "no picture");
    assert.match(await train(stage("stage: pretrain, data: { sets: [broken] }")), /broken: .*\[data-not-in-order\]/);
  });
});

const Training = z.looseObject({
  stages: z.array(z.looseObject({ samplesSeen: z.int(), gflops: z.strictObject({ trained: z.number(), teacher: z.number() }) })),
});

async function place(dir: string, text: string): Promise<string> {
  for (const kind of ["good", "local"]) {
    await mkdir(join(dir, "frames", kind), { recursive: true });
    const from = join(ROOT, "examples/textile", kind);
    for (const name of (await readdir(from)).sort().slice(0, 4)) await cp(join(from, name), join(dir, "frames", kind, name));
  }
  const file = join(dir, "recipe.yaml");
  await writeFile(file, text);
  return file;
}

async function checkpointsIn(stageDir: string): Promise<number> {
  return (await readdir(join(stageDir, "checkpoints")).catch(() => [])).filter((name) => name.startsWith("step-")).length;
}

async function until(done: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 2400; tries++) {
    if (await done()) return;
    await new Promise((wake) => setTimeout(wake, 25));
  }
  assert.fail("waited a minute for nothing");
}

async function digestOf(file: string): Promise<string> {
  return createHash("sha256").update(await readFile(file)).digest("hex"); // biome-ignore format: one line
}
