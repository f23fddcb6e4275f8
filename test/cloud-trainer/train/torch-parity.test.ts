/**
 * The engine torch against the engine tfjs: same weights, same batches, float32. Skipped where the engine
 * is not installed.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { surfacePool } from "../../../cloud-trainer/src/samples/batch.ts";
import { captionedBatches, surfaceSource } from "../../../cloud-trainer/src/samples/captioned-batch.ts";
import { distillBatches, distillSet } from "../../../cloud-trainer/src/samples/distill-set.ts";
import { maskedBatches, targetLength } from "../../../cloud-trainer/src/samples/masked-batch.ts";
import { tuneBatches } from "../../../cloud-trainer/src/samples/tune-batch.ts";
import { BASE_WORDS } from "../../../cloud-trainer/src/samples/words.ts";
import { createEngine } from "../../../cloud-trainer/src/train/engines/create-engine.ts";
import type { Engine } from "../../../cloud-trainer/src/train/engines/engine.ts";
import { createTeacher } from "../../../cloud-trainer/src/train/engines/tfjs/distill.ts";
import { drawTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { createTorchEngine } from "../../../cloud-trainer/src/train/engines/torch/engine.ts";
import { preprocessOf } from "../../../cloud-trainer/src/weights-folder.ts";
import { openRunFolder } from "../../../cloud-trainer/src/train/run-folder.ts";
import { SMALL, smallSetup, smallTokenizer } from "./small-model.ts";
import { skip } from "./torch-python.ts";

const AT_START = 1e-5;
const AFTER_ALL = 1e-3;
const STEPS = 100;
/** Where one stage has been followed so far, the others need not be. */
const FEWER = 25;
const OWN = { precision: "float32", compile: false } as const;

const tfjs = await createEngine({ engine: "tfjs", torch: { precision: "float32", compile: false } }, { gpus: null, nodes: undefined });
const torch = createTorchEngine({ gpus: null, processes: 1, ...OWN });
const pool = surfacePool(5, SMALL.image.size, 96, () => undefined);
const source = { config: SMALL, frames: [], surfaces: pool, turn: true };
const rates = { image: 0.004, text: 0.001, other: 0.004 };

type Run = (engine: Engine, setup: ReturnType<typeof smallSetup>) => Promise<unknown>;

type Wanted = { optimizer?: Record<string, unknown>; steps?: number };

async function lossesOf(t: TestContext, engine: Engine, run: Run, { optimizer = {}, steps = FEWER }: Wanted): Promise<number[]> {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-parity-"));
  const folder = await openRunFolder(dir);
  t.after(async () => {
    folder.close();
    await rm(dir, { recursive: true, force: true });
  });
  const setup = { ...smallSetup(steps, { rates, ...optimizer }), folder };
  await run(engine, setup);
  return setup.losses;
}

async function agree(t: TestContext, run: Run, wanted: Wanted = {}): Promise<void> {
  const ours = await lossesOf(t, tfjs, run, wanted);
  const theirs = await lossesOf(t, torch, run, wanted);
  assert.equal(theirs.length, wanted.steps ?? FEWER);
  const apart = ours.map((loss, i) => Math.abs(loss - (theirs[i] as number)));
  t.diagnostic(`loss ${ours[0]} to ${ours.at(-1)}; apart ${apart[0]} at the start, ${Math.max(...apart)} at most`);
  assert.ok((apart[0] as number) <= AT_START, `at the first step ${ours[0]} and ${theirs[0]}`);
  assert.ok(Math.max(...apart) <= AFTER_ALL, `at most ${Math.max(...apart)} apart`);
}

const contrastive: (loss: "clip" | "siglip", microBatch: number | null) => Run = (loss, microBatch) => (engine, setup) =>
  engine.trainContrastive({
    ...setup,
    tokenizer: smallTokenizer,
    words: BASE_WORDS,
    loss,
    patchLoss: 2,
    microBatch,
    shards: null,
    generated: null,
    references: { loss: 0, tokenLayers: [] },
    batchAt: captionedBatches([surfaceSource(pool, SMALL, 1)], {
      config: SMALL,
      size: 16,
      dropout: { ratio: 0.5, unmaskedTail: 0.3 },
      seed: 1,
    }),
  });

test("contrastive training with patch loss and patch dropout is the same on both engines", { skip }, (t) =>
  agree(t, contrastive("clip", null), { optimizer: { layerDecay: { image: 0.8, text: 0.7 }, average: 0.9 }, steps: STEPS }),
);

test("SigLIP's loss through micro-batches with AdamW is the same on both engines", { skip }, (t) =>
  agree(t, contrastive("siglip", 4), { optimizer: { name: "adamw", rates: { image: 1e-3, text: 1e-3, other: 1e-3 } } }),
);

test("masked image modelling against a teacher is the same on both engines", { skip }, (t) =>
  agree(t, (engine, setup) =>
    engine.trainMasked({
      ...setup,
      target: { config: SMALL, tensors: drawTensors(SMALL, 99) },
      batchAt: maskedBatches(source, { size: 8, ratio: 0.4, target: null, seed: 1 }),
    }),
  ),
);

test("masked image modelling of pixels is the same on both engines", { skip }, (t) =>
  agree(t, (engine, setup) =>
    engine.trainMasked({
      ...setup,
      target: { length: targetLength(SMALL, "pixels") },
      batchAt: maskedBatches(source, { size: 8, ratio: 0.4, target: "pixels", seed: 1 }),
    }),
  ),
);

test("tuning on a site's frames is the same on both engines", { skip }, (t) => {
  const frames = pool.slice(0, 8).map(({ rgb }, i) => {
    const [side, plane] = [SMALL.image.size, SMALL.image.size ** 2];
    const data = Uint8Array.from({ length: 3 * plane }, (_, at) => rgb[(at % 3) * plane + Math.floor(at / 3)] as number);
    return { image: { width: side, height: side, data }, label: i % 2 === 0 ? ("good" as const) : ("bad" as const) };
  });
  const preprocess = preprocessOf({ config: SMALL, tiling: { overlapPx: 0, maxTiles: 4 } });
  return agree(t, (engine, setup) =>
    engine.trainTune({
      ...setup,
      tokenizer: smallTokenizer,
      words: BASE_WORDS,
      scoring: { topRatio: 0.1, imageWeight: 0.3 },
      noiseTolerance: 0.3,
      batchAt: tuneBatches({
        config: SMALL,
        preprocess,
        frames,
        replay: pool,
        sizes: { crops: 4, replay: 4, frames: 2 },
        seed: 1,
      }),
    }),
  );
});

for (const microBatch of [null, 4]) {
  const how = microBatch === null ? "" : " and both accumulate micro-batches";
  test(`distillation is the same on both engines, though one stores what the teacher sees and one looks again${how}`, { skip }, (t) =>
    distilled(t, microBatch),
  );
}

async function distilled(t: TestContext, microBatch: number | null): Promise<void> {
  const teacher = { config: SMALL, tensors: drawTensors(SMALL, 99) };
  const set = distillSet(source, { views: 1, seed: 4 });
  const tower = await createTeacher(teacher);
  const seen = tower.image(set.pixelValues([...Array(set.count).keys()]));
  const text = (some: readonly string[]) => tower.text(some.map(smallTokenizer.encode));
  const embeds = { dim: SMALL.embedDim, ...seen, textEmbeds: text(set.captions) };
  const words = { good: text(BASE_WORDS.good), bad: text(BASE_WORDS.bad), texts: BASE_WORDS };
  tower.dispose();
  await agree(t, (engine, setup) =>
    engine.trainDistill({
      ...setup,
      teacher,
      terms: { logits: 1, features: 10, interactive: 0.1, affinity: 0.1 },
      microBatch,
      words,
      batchAt: distillBatches(set, engine.storesTeacher ? embeds : null, { config: SMALL, size: 12, seed: 1 }),
    }),
  );
}
