/** How an inspector is started on a device: measured once, kept, told of while it takes long, and held to its memory. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type InspectorOptions, startInspector } from "@kenpin/inspector";
import { type AgentConfig, type Building, BundleManifest, InspectorConfig } from "@kenpin/schema";
import { pino } from "pino";
import { Launcher } from "../../../edge-agent/src/inspect/launcher.ts";
import type { Tuning } from "../../../edge-agent/src/inspect/tuning.ts";
import type { Setup } from "../../../edge-agent/src/setup.ts";
import { shippedFrames, stageShipped } from "../../inspector/shipped-bundle.ts";
import { pythonWithGpu } from "../../support/python-with-gpu.ts";
import { drawFrame } from "../../support/test-bundle.ts";
import { unpackedTestBundle } from "../../support/unpacked-bundle.ts";

const skip = process.env["KENPIN_PYTHON"] ? false : "KENPIN_PYTHON names no Python with onnxruntime";
type What = { setup: Pick<Setup, "bundle" | "folder" | "manifest">; frame: Uint8Array };
type Device = {
  launch: (config?: Partial<AgentConfig>, onBuilding?: (building: Building) => void, what?: What) => Promise<Launched>;
  folder: string;
};
type Launched = {
  launcher: Launcher;
  events: Record<string, unknown>[];
  provider: string;
  passedOver: { provider: string; why: string }[];
  score: number;
};

test("provider, threads and tiles at once are measured when a model is first seen, and not again until something else is asked", async () => {
  await onDevice(async ({ launch }) => {
    const first = await launch();
    const measured = first.events.filter(({ msg }) => msg === "runtime-measured");
    assert.equal(measured.length, 1);
    assert.equal(measured[0]?.["provider"], "cpu");
    assert.ok(Number(measured[0]?.["threads"]) >= 1 && Number(measured[0]?.["batch"]) >= 1);
    const again = await launch();
    assert.deepEqual(named(again.events, "runtime-measured"), []);
    assert.equal(again.score, first.score);
    const other = await launch({ threads: 1 });
    assert.deepEqual(
      named(other.events, "runtime-measured").map(({ threads }) => threads),
      [1],
    );
  });
});

test("why a provider does not run is logged once, however often an inspector is started", async () => {
  await onDevice(async ({ launch }) => {
    const { events, passedOver, provider } = await launch();
    assert.equal(provider, "cpu");
    assert.deepEqual(
      passedOver.map((one) => one.provider),
      ["tensorrt", "cuda", "webgpu"],
    );
    assert.equal(named(events, "provider-passed-over").length, 3);
  });
});

test("an engine that takes long is told of with how long it has, and the next one with what the last one took", { skip }, async () => {
  await onDevice(async ({ launch, folder }) => {
    const python = await pythonWithGpu(folder, "slow", 3);
    const config = (gpuMemoryMb: number) => ({
      inspector: InspectorConfig.parse({ runtime: "python", python, gpuMemoryMb, providers: ["cuda", "cpu"] }),
    });
    const told: Building[] = [];
    const { events } = await launch(config(100), (building) => told.push(building));
    assert.ok(told.length >= 1);
    assert.deepEqual([told[0]?.provider, told[0]?.expectedMs], ["cuda", null]);
    assert.ok((told[0]?.elapsedMs ?? 0) >= 1900);
    const { tookMs } = named(events, "runtime-measured")[0] as { tookMs: number };
    const again: Building[] = [];
    await launch(config(200), (building) => again.push(building)); // something else is asked, so it is built anew
    assert.equal(Math.round(again[0]?.expectedMs ?? 0), tookMs);
  });
});

test("a GPU that leaves the work to the CPU is passed over with its share, and not tried again at the next start", { skip }, async () => {
  await onDevice(async ({ launch, folder }) => {
    const python = await pythonWithGpu(folder, "slow");
    const config = { inspector: InspectorConfig.parse({ runtime: "python", python, providers: ["cuda", "cpu"] }) };
    const { provider, events } = await launch(config);
    assert.equal(provider, "cpu");
    assert.match(String(named(events, "provider-passed-over")[0]?.["why"]), /^only 0 % of the work ran there$/);
    assert.equal((await launch(config)).provider, "cpu");
  });
});

test("an inspector that outgrows its memory is ended with what it held, and one in a stated limit is not", async () => {
  await onDevice(async ({ launch }) => {
    await assert.rejects(
      launch({ inspector: InspectorConfig.parse({ memoryMb: 64 }) }),
      /held \d+ MB of memory, 64 are its limit \(inspector\.memoryMb\)/,
    );
    assert.equal((await launch({ inspector: InspectorConfig.parse({ memoryMb: 1024 }) })).provider, "cpu");
  });
});

test("a frame in 8 bits is never split, whatever was measured: its score is the one that thresholds were chosen by", async () => {
  await onDevice(async ({ launch, folder }) => {
    const student = await stageShipped("student", "int8", folder);
    const manifest = { ...JSON.parse(await readFile(join(student, "manifest.json"), "utf8")), files: {} } as BundleManifest;
    const [frame] = (await shippedFrames(1, 200)) as [Uint8Array];
    const setup = { bundle: "1".repeat(64), folder: student, manifest };
    const whole = await scoreOf({ bundleDir: student }, frame);
    assert.notEqual(await scoreOf({ bundleDir: student, batch: 1 }, frame), whole, "splitting does change it");
    const { launcher } = await launch({}, undefined, { setup, frame });
    const tuning = (await launcher.cache.read(setup.bundle)) as Tuning;
    await launcher.cache.write(setup.bundle, { ...tuning, best: { ...tuning.best, batch: 1 } });
    assert.equal((await launch({}, undefined, { setup, frame })).score, whole);
  });
});

async function scoreOf(options: InspectorOptions, frame: Uint8Array): Promise<number> {
  const inspector = await startInspector(options);
  try {
    return (await inspector.inspect(frame)).inspection.score;
  } finally {
    await inspector.close();
  }
}

function named(events: readonly Record<string, unknown>[], name: string): Record<string, unknown>[] {
  return events.filter(({ msg }) => msg === name);
}

/** One data folder, in which launchers come and go as agents do. */
async function onDevice(work: (device: Device) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-launcher-"));
  try {
    const bundleDir = await unpackedTestBundle(join(folder, "bundle"));
    const manifest = BundleManifest.parse(JSON.parse(await readFile(join(bundleDir, "manifest.json"), "utf8")));
    const own = { setup: { bundle: "0".repeat(64), folder: bundleDir, manifest }, frame: await drawFrame() };
    const launch: Device["launch"] = async (change = {}, onBuilding = () => undefined, { setup, frame } = own) => {
      const events: Record<string, unknown>[] = [];
      const log = pino({ level: "info" }, { write: (line) => events.push(JSON.parse(line)) });
      const config = { threads: undefined, dataDir: join(folder, "data"), inspector: InspectorConfig.parse({}), ...change };
      const launcher = new Launcher(config, log);
      const inspector = await launcher.start(setup, onBuilding);
      try {
        const { score } = (await inspector.inspect(frame)).inspection;
        return { launcher, events, provider: inspector.provider, passedOver: inspector.passedOver, score };
      } finally {
        await inspector.close();
      }
    };
    await work({ launch, folder });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
