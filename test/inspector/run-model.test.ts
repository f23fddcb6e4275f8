/** Any model in a worker, and threads and batch chosen by measuring, on a small graph. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { modelConfig } from "@kenpin/clip";
import { chooseRuntime, startModel } from "@kenpin/inspector";
import { nearestGraph, visionGraph } from "@kenpin/onnx";
import { seededTensors } from "../onnx/seeded-weights.ts";

async function withFile(bytes: Uint8Array, use: (file: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-run-"));
  try {
    await writeFile(join(dir, "model.onnx"), bytes);
    await use(join(dir, "model.onnx"));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

test("a model in a worker answers with named tensors and the runtime's own time; a wrong question fails alone", async () => {
  await withFile(nearestGraph(2), async (model) => {
    const runner = startModel({ model, threads: 1 });
    try {
      const inputs = {
        tokens: { data: Float32Array.of(1, 0, 0, 1), dims: [2, 2] },
        bank: { data: Float32Array.of(0.6, 0.8, 1, 0), dims: [2, 2] },
      };
      const { tensors, ms } = await runner.run(inputs);
      assert.deepEqual(Object.keys(tensors), ["distance"]);
      assert.ok(Math.abs((tensors["distance"]?.[1] as number) - 0.2) < 1e-6);
      assert.ok(ms > 0);
      await assert.rejects(runner.run({ tokens: inputs.tokens }), /bank/);
      assert.equal((await runner.run(inputs, ["distance"])).tensors["distance"]?.length, 2);
    } finally {
      await runner.close();
    }
  });
});

test("threads and batch are those with the least measured time a tile", async () => {
  const config = modelConfig("kenpin-s-8");
  await withFile(visionGraph({ config, weights: seededTensors(config), flavour: "ort" }), async (visionModel) => {
    const { best, measured } = await chooseRuntime({
      visionModel,
      side: config.image.size,
      maxTiles: 4,
      threads: [1, 2],
      batches: [1, 3],
      budgetMs: 60_000,
    });
    assert.deepEqual(
      measured.map(({ threads, batch }) => [threads, batch]),
      [
        [1, 1],
        [1, 3],
        [2, 1],
        [2, 3],
      ],
    );
    assert.equal(best.msPerTile, Math.min(...measured.map(({ msPerTile }) => msPerTile)));
    assert.ok(best.msPerTile > 0);
  });
});
