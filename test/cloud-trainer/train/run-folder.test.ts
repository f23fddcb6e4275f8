/** A stage's folder over many saves, crashes and rollbacks: what is kept, what is resumed from, and what metrics.jsonl says. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { checkpointsUnder, openRunFolder, type RunFolder } from "../../../cloud-trainer/src/train/run-folder.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";

async function save(folder: RunFolder, step: number, steady = true): Promise<void> {
  folder.append({ step });
  const tensors = new Map([["model.safetensors", () => new Map([["w", { shape: [1], data: Float32Array.of(step) }]])]]);
  await folder.save({ step, steady, state: { step }, tensors });
}

const kept = async (dir: string) => (await readdir(join(dir, "checkpoints"))).sort().map((name) => Number(name.split("-")[1]));
const lines = async (dir: string) => (await readFile(join(dir, "metrics.jsonl"), "utf8")).split("\n").filter(Boolean);

test("the last two checkpoints are kept, and the run goes on from the newest", async () => {
  await inFolder(async (dir) => {
    const folder = await openRunFolder(dir);
    assert.deepEqual(await folder.resume(), { checkpoint: null, passedOver: [] });
    for (const step of [0, 10, 20, 30]) await save(folder, step);
    assert.deepEqual(await kept(dir), [20, 30]);
    const { checkpoint, passedOver } = await folder.resume();
    assert.deepEqual([checkpoint?.step, checkpoint?.state, passedOver], [30, { step: 30 }, []]);
    folder.close();
  });
});

test("lines written after the checkpoint are cut off on resume, even half a line", async () => {
  await inFolder(async (dir) => {
    const folder = await openRunFolder(dir);
    await save(folder, 10);
    folder.append({ step: 11 });
    folder.close();
    await writeFile(join(dir, "metrics.jsonl"), `${(await lines(dir)).join("\n")}\n{"step":1`);
    const again = await openRunFolder(dir);
    await again.resume();
    again.append({ step: 11, second: true });
    again.close();
    assert.deepEqual(await lines(dir), ['{"step":10}', '{"step":11,"second":true}']);
  });
});

test("a broken checkpoint is passed over by name, with the one before it in its place; parts of a killed write are removed", async () => {
  await inFolder(async (dir) => {
    const folder = await openRunFolder(dir);
    await save(folder, 10);
    await save(folder, 20);
    folder.close();
    await truncate(join(dir, "checkpoints/step-00000020/model.safetensors"), 9);
    await mkdir(join(dir, "checkpoints/.partial-step-00000030/x"), { recursive: true });
    const again = await openRunFolder(dir);
    const { checkpoint, passedOver } = await again.resume();
    assert.equal(checkpoint?.step, 10);
    assert.deepEqual(
      passedOver.map(({ name }) => name),
      ["step-00000020"],
    );
    assert.match(passedOver[0]?.why ?? "", /model\.safetensors.*expected \d+ bytes, found 9/);
    assert.deepEqual(await kept(dir), [10, 20]);
    await save(again, 20);
    assert.equal((await again.resume()).checkpoint?.step, 20);
    again.close();
  });
});

test("a state saved while the loss rose is resumed from but not gone back to, and the last steady one stays", async () => {
  await inFolder(async (dir) => {
    const folder = await openRunFolder(dir);
    for (const [step, steady] of [
      [10, true],
      [20, true],
      [30, false],
      [40, false],
      [50, false],
    ] as const)
      await save(folder, step, steady);
    assert.deepEqual(await kept(dir), [20, 40, 50]);
    assert.equal((await folder.resume()).checkpoint?.step, 50);
    assert.equal((await folder.goBack(0)).checkpoint?.step, 20);
    assert.deepEqual(await kept(dir), [20], "what came after it is gone");
    folder.close();
  });
});

test("one deeper is the steady checkpoint before, and the oldest where there are no more", async () => {
  await inFolder(async (dir) => {
    const folder = await openRunFolder(dir);
    for (const step of [10, 20]) await save(folder, step);
    assert.equal((await folder.goBack(1)).checkpoint?.step, 10);
    assert.equal((await folder.goBack(5)).checkpoint?.step, 10);
    await save(folder, 20);
    await truncate(join(dir, "checkpoints/step-00000010/model.safetensors"), 9);
    const { checkpoint, passedOver } = await folder.goBack(1);
    assert.deepEqual([checkpoint?.step, passedOver.map(({ name }) => name)], [20, ["step-00000010"]], "a damaged one is no use");
    folder.close();
  });
});

test("how far a run has come is seen from the outside, over all of its stages", async () => {
  await inFolder(async (dir) => {
    assert.deepEqual(await checkpointsUnder(join(dir, "nowhere")), []);
    for (const stage of ["1-train", "2-tune"]) {
      const folder = await openRunFolder(join(dir, stage));
      await save(folder, 10);
      folder.close();
    }
    assert.deepEqual(await checkpointsUnder(dir), ["1-train/checkpoints/step-00000010", "2-tune/checkpoints/step-00000010"]);
  });
});
