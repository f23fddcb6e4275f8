/** A folder to train on from: what is written is read back, and what does not belong together is said in one line. */
import assert from "node:assert/strict";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { preprocessOf, readWeightsFolder, writeWeightsFolder } from "../../cloud-trainer/src/weights-folder.ts";
import { inFolder } from "./import/seeded-checkpoint.ts";

const BASE = resolve(import.meta.dirname, "../../cloud-trainer/base");

test("the base model is written and read back as it was", async () => {
  await inFolder(async (dir) => {
    const base = await readWeightsFolder(BASE);
    await writeWeightsFolder(join(dir, "copy"), base);
    const { sha256, ...copy } = await readWeightsFolder(join(dir, "copy"));
    const { sha256: _, ...original } = base;
    assert.deepEqual(copy, original);
    assert.match(sha256, /^[0-9a-f]{64}$/);
    const { tilePx, overlapPx, maxTiles } = preprocessOf(base);
    assert.deepEqual({ tilePx, overlapPx, maxTiles }, { tilePx: base.config.image.size, ...base.tiling });
  });
});

test("a missing file, broken JSON, a misspelt key and another model's weights are each told apart", async () => {
  const spoiled = (change: (dir: string) => Promise<void>, expected: { code: string; message: RegExp }) =>
    inFolder(async (dir) => {
      await cp(BASE, dir, { recursive: true });
      await change(dir);
      await assert.rejects(readWeightsFolder(dir), expected);
    });
  const rewrite = async (dir: string, name: string, change: (text: string) => string) =>
    writeFile(join(dir, name), change(await readFile(join(dir, name), "utf8")));
  await assert.rejects(readWeightsFolder("/nowhere"), { code: "weights-unreadable" });
  await spoiled((dir) => rewrite(dir, "scoring.json", () => "{"), { code: "weights-unreadable", message: /scoring\.json is no JSON/ });
  await spoiled((dir) => rewrite(dir, "scoring.json", (text) => text.replace('"topRatio"', '"topRatios"')), {
    code: "invalid-input",
    message: /unknown key "topRatios", did you mean "topRatio"\?/,
  });
  await spoiled((dir) => rewrite(dir, "config.json", (text) => text.replace(/"embedDim": *128/, '"embedDim": 64')), {
    code: "weights-mismatch",
    message: /expected .* found .*do not belong together/,
  });
  await spoiled((dir) => writeFile(join(dir, "model.safetensors"), Buffer.alloc(100)), { code: "checkpoint-broken", message: /./ });
});
