/** A frame that comes again is judged by what was taught since, and its tower is not asked again. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Exemplar, type Inspector, startInspector } from "@kenpin/inspector";
import { drawFrame } from "../support/test-bundle.ts";
import { unpackedTestBundle } from "../support/unpacked-bundle.ts";

const folder = await mkdtemp(join(tmpdir(), "kenpin-sights-"));
after(() => rm(folder, { recursive: true, force: true }));

test("with sights kept, teachings and verdicts are the same to the last bit, and each frame is seen once", async () => {
  const bundleDir = await unpackedTestBundle(join(folder, "bundle"));
  const sightsDir = join(folder, "sights");
  await mkdir(sightsDir);
  const frames: Uint8Array[] = [];
  for (let i = 0; i < 14; i++) frames.push(await drawFrame());
  const lessons = frames.slice(0, 12).map((frame, i): Exemplar => ({ frame, label: i < 6 ? "good" : "bad" }));
  const verdicts = async (inspector: Inspector) => {
    try {
      const first = await inspector.inspect(frames[13] as Uint8Array);
      const taught = [await inspector.teach(lessons), await inspector.teach(lessons.slice(0, 5))];
      const later = [await inspector.inspect(frames[13] as Uint8Array), await inspector.inspect(frames[0] as Uint8Array)];
      const { heat } = await inspector.heat(frames[13] as Uint8Array);
      const looks = [first, ...later].map(({ inspection }) => ({ ...inspection, ms: null }));
      return { taught, looks, heat, ms: later.map(({ inspection }) => inspection.ms.decode) };
    } finally {
      await inspector.close();
    }
  };
  const anew = await verdicts(await startInspector({ bundleDir, threads: 1 }));
  const kept = await verdicts(await startInspector({ bundleDir, threads: 1, sightsDir }));
  assert.deepEqual({ ...kept, ms: null }, { ...anew, ms: null });
  assert.equal((await readdir(sightsDir)).length, 13, "twelve exemplars, one other frame");
  assert.notEqual(kept.looks[0]?.score, kept.looks[1]?.score);
  assert.ok(
    kept.ms.every((ms) => ms > 0),
    "what decoding took when it was done",
  );
});
