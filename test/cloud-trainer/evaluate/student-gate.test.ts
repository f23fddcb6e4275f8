/** The gate between student and teacher, on real bundles: a model against itself passes, a drawn one does not. */
import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { stageBundle } from "../../../cloud-trainer/src/bundle/stage.ts";
import { passGate } from "../../../cloud-trainer/src/evaluate/student-gate.ts";
import { goldenPictures } from "../../../cloud-trainer/src/samples/pictures.ts";
import { drawTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { readWeightsFolder, writeWeightsFolder } from "../../../cloud-trainer/src/weights-folder.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const BASE = join(ROOT, "cloud-trainer/base");
const WORDS = { good: ["flawless woven fabric"], bad: ["a hole in fabric"] };
const frames = (["good", "local"] as const).flatMap((kind) =>
  globSync(`examples/textile/${kind}/*`, { cwd: ROOT })
    .sort()
    .slice(0, 5)
    .map((name) => ({ file: join(ROOT, name), label: kind === "good" ? ("good" as const) : ("bad" as const) })),
);

test("a student that is its teacher passes with full agreement; one of random weights is kept back, and the reason is said", async () => {
  await inFolder(async (dir) => {
    const base = await readWeightsFolder(BASE);
    const drawn = join(dir, "drawn");
    await writeWeightsFolder(drawn, { ...base, tensors: drawTensors(base.config, 5) });
    const golden = await goldenPictures(1);
    const stage = async (name: string, modelDir: string) => {
      const stagedDir = join(dir, name);
      await mkdir(stagedDir);
      return { stagedDir, manifest: await stageBundle({ modelDir, words: WORDS, golden, outDir: stagedDir }) };
    };
    const teacher = await stage("teacher", BASE);
    const same = await passGate({ teacher, student: await stage("same", BASE) }, frames, () => undefined);
    assert.deepEqual([same.passed, same.agreement, same.frames], [true, 1, 10]);
    assert.match(same.why, /^the student stands in for its teacher: /);
    const seen: number[] = [];
    const other = await passGate({ teacher, student: await stage("other", drawn) }, frames, (done) => seen.push(done));
    assert.equal(other.passed, false);
    assert.match(other.why, /less well|otherwise/);
    assert.deepEqual(
      seen,
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });
});
