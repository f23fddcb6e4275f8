/** What was measured and built is kept a model and device, and never more of it than was allowed. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { deviceDigest, deviceName } from "../../../edge-agent/src/inspect/device.ts";
import { EngineCache } from "../../../edge-agent/src/inspect/engine-cache.ts";
import { type Tuning, unfit } from "../../../edge-agent/src/inspect/tuning.ts";

const model = (n: number) => String(n).repeat(64);

function tuning(change: Partial<Tuning> = {}): Tuning {
  const best = { provider: "cpu" as const, threads: 2, batch: 4, msPerTile: 1.5 };
  const runtime = { kind: "node" as const, version: "1.30.0" };
  const facts = { asked: "a", device: deviceName(), runtime, passedOver: [], ranOn: { cpu: 1 }, openMs: 10, tookMs: 1200 };
  return { format: 1, ...facts, best, measured: [best], at: "2026-03-01T00:00:00Z", ...change };
}

test("a measurement comes back as it was written; one that is broken counts for none", async () => {
  await withCache(1, async (cache) => {
    assert.equal(await cache.read(model(1)), null);
    await cache.write(model(1), tuning());
    assert.deepEqual(await cache.read(model(1)), tuning());
    assert.equal(await cache.read(model(2)), null);
    await writeFile(join(cache.folderOf(model(1)), "tuning.json"), '{"format": 1, "best": 7}');
    assert.equal(await cache.read(model(1)), null);
  });
});

test("what the last build took is known by its provider, the newest one's, and of this device alone", async () => {
  await withCache(1, async (cache, folder) => {
    const gpu = (tookMs: number, at: string) =>
      tuning({ tookMs, at, measured: [{ provider: "tensorrt", threads: 2, batch: 4, msPerTile: 0.1 }] });
    assert.equal(await cache.lastTookMs("tensorrt"), null);
    await cache.write(model(1), gpu(400_000, "2026-03-01T00:00:00Z"));
    await cache.write(model(2), gpu(300_000, "2026-03-02T00:00:00Z"));
    await cache.write(model(3), tuning({ at: "2026-03-03T00:00:00Z" }));
    const other = join(folder, `${model(4).slice(0, 16)}-${"0".repeat(12)}`);
    await mkdir(other);
    await writeFile(join(other, "tuning.json"), JSON.stringify(gpu(1, "2026-03-04T00:00:00Z")));
    assert.equal(await cache.lastTookMs("tensorrt"), 300_000);
  });
});

test("past the limit the longest unused engines go, never the one in use, and nothing that is no engine's", async () => {
  await withCache(1, async (cache, folder) => {
    for (const n of [1, 2, 3]) {
      await cache.write(model(n), tuning());
      await mkdir(join(cache.folderOf(model(n)), "onnxruntime-1.30.0"));
      await writeFile(join(cache.folderOf(model(n)), "onnxruntime-1.30.0/part.engine"), new Uint8Array(500_000));
      await utimes(join(cache.folderOf(model(n)), "tuning.json"), n, n);
    }
    await writeFile(join(folder, "notes.txt"), new Uint8Array(2_000_000));
    assert.ok((await cache.bytes()) > 1_500_000);
    await cache.read(model(1)); // used just now
    assert.equal(await cache.sweep(model(2)), 1);
    const left = (await readdir(folder)).sort();
    assert.deepEqual(left, [`${"1".repeat(16)}-${deviceDigest()}`, `${"2".repeat(16)}-${deviceDigest()}`, "notes.txt"]);
    assert.equal(await cache.sweep(model(2)), 0, "what fits stays");
  });
});

test("a provider that was slower, left the work to others, or took its process down is not tried again; one that was away is", () => {
  const cpu = { provider: "cpu" as const, threads: 2, batch: 1, msPerTile: 2 };
  const webgpu = { provider: "webgpu" as const, threads: 2, batch: 1, msPerTile: 9 };
  const passedOver = [
    { provider: "tensorrt" as const, why: "not in this build" },
    { provider: "cuda" as const, why: "process ended (SIGSEGV)", endedIt: true },
    { provider: "webgpu" as const, why: "slower than the CPU" },
  ];
  assert.deepEqual(unfit({ best: cpu, measured: [webgpu, cpu], passedOver }).sort(), ["cuda", "webgpu"]);
  assert.deepEqual(unfit({ best: webgpu, measured: [webgpu, cpu], passedOver: [] }), []);
});

async function withCache(limitMb: number, work: (cache: EngineCache, folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-engines-"));
  try {
    await work(new EngineCache({ folder, limitMb }), folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
