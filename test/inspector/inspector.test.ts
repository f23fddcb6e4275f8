/** The inspector's process as an agent lives with it: it answers, it may be killed, hang, or be given nonsense. */
import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { unpackBundle } from "@kenpin/bundle";
import { type Exemplar, type Inspector, type InspectorOptions, proveGolden, startInspector } from "@kenpin/inspector";
import type { BundleManifest } from "@kenpin/schema";
import fc from "fast-check";
import sharp from "sharp";
import { encodeMessage, type Message, messageReader } from "../../packages/inspector/src/protocol.ts";
import { drawFrame, testBundle } from "../support/test-bundle.ts";

let folder: string;
let bundleDir: string;
let manifest: BundleManifest;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-inspector-"));
  bundleDir = join(folder, "bundle");
  const { file, signer } = await testBundle();
  const place = { tar: file, outDir: bundleDir, rootKey: signer.rootKey };
  ({ manifest } = await unpackBundle({ ...place, now: new Date(), newestRelease: 0, agentVersion: "99.0.0" }));
});
after(() => rm(folder, { recursive: true, force: true }));

async function withInspector(use: (inspector: Inspector) => Promise<void>, options: Partial<InspectorOptions> = {}): Promise<void> {
  const inspector = await startInspector({ bundleDir, threads: 1, ...options });
  try {
    await use(inspector);
  } finally {
    await inspector.close();
  }
}

const good = (frames: Uint8Array[]): Exemplar[] => frames.map((frame) => ({ frame, label: "good" }));

/** One clear line, with the code a caller may match. */
const failure = (code: string, message: RegExp) => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.message);
  assert.match(error.message, /^[^\n]+$/);
  assert.match(error.message, message);
  return true;
};

test("the same frame scores the same, and its map is a picture of the frame's size", async () => {
  await withInspector(async (inspector) => {
    const frame = await drawFrame();
    const [first, second] = [await inspector.inspect(frame, { map: true }), await inspector.inspect(frame)];
    assert.deepEqual({ ...first.inspection, ms: null }, { ...second.inspection, ms: null });
    const { width, height, score, bankZ, referenceZ, ms } = first.inspection;
    assert.ok(score >= 0 && score <= 1 && bankZ === null && referenceZ === null);
    assert.ok(Object.values(ms).every((value) => value >= 0));
    const map = await sharp(first.map).metadata();
    assert.deepEqual([map.format, map.width, map.height, map.channels], ["png", width, height, 4]);
    assert.equal(second.map.length, 0);
  });
});

test("the map as numbers is the one that is drawn and that regions come from", async () => {
  await withInspector(async (inspector) => {
    const frame = await drawFrame();
    const { inspection, heat } = await inspector.heat(frame);
    const { columns, rows, cellPx, width, height, values } = heat;
    assert.deepEqual([columns, rows, values.length], [Math.ceil(width / cellPx), Math.ceil(height / cellPx), columns * rows]);
    assert.deepEqual([width, height], [inspection.width, inspection.height]);
    const hottest = Math.max(...values);
    assert.equal(inspection.regions[0]?.score ?? hottest, hottest);
    assert.equal(inspection.regions.length > 0, hottest >= 0);
    assert.deepEqual((await inspector.inspect(frame)).inspection.regions, inspection.regions);
  });
});

test("a bundle proves itself by its golden images", async () => {
  await withInspector(async (inspector) => assert.deepEqual(await proveGolden(inspector, bundleDir, manifest), { ok: true }));
});

test("good references give a frame its deviations; one frame is no reference; teaching anew forgets", async () => {
  await withInspector(async (inspector) => {
    const references = await Promise.all(Array.from({ length: 6 }, () => drawFrame()));
    const odd = await drawFrame({ flat: 255 });
    const zOf = async (frame: Uint8Array) => (await inspector.inspect(frame)).inspection.bankZ;
    assert.equal((await inspector.teach(good(references))).references, 6);
    const [own, other] = [await zOf(references[0] as Uint8Array), await zOf(odd)] as [number, number];
    assert.ok(other > own, `${other} for a frame unlike them, ${own} for one of them`);
    assert.equal((await inspector.teach(good(references.slice(0, 1)))).references, 0);
    assert.equal(await zOf(odd), null);
    assert.equal((await inspector.teach([])).references, 0);
  });
});

test("exemplars of both kinds: frames like the bad ones score above frames like the good ones, as cross-validation said", async () => {
  await withInspector(async (inspector) => {
    const draw = (count: number, label: "good" | "bad") =>
      Promise.all(Array.from({ length: count }, async () => ({ frame: await drawFrame(label === "bad" ? { flat: 120 } : {}), label })));
    const progress: number[][] = [];
    const exemplars = [...(await draw(8, "good")), ...(await draw(7, "bad"))];
    const taught = await inspector.teach(exemplars, { onProgress: (done, of) => progress.push([done, of]) });
    assert.deepEqual([taught.references, taught.bad, taught.scores?.length], [8, 7, 15]);
    assert.deepEqual([progress.length, progress.at(-1)], [16, [16, 16]]);
    assert.ok(taught.head && taught.head.with.crossEntropy <= taught.head.without.crossEntropy && taught.head.with.auroc > 0.9);
    const scoreOf = async (exemplar?: Exemplar) => (await inspector.inspect(exemplar?.frame as Uint8Array)).inspection.score;
    const [likeGood, likeBad] = [await scoreOf((await draw(1, "good"))[0]), await scoreOf((await draw(1, "bad"))[0])];
    assert.ok(likeGood < 0.5 && likeBad > 0.5, `${likeGood} ${likeBad}`);
    const few = await inspector.teach(exemplars.slice(0, 12));
    assert.deepEqual([few.references, few.bad, few.head], [8, 0, null], "four bad ones tell nothing that could be confirmed");
  });
});

test("what was taught comes back after a restart, to the last digit, and exemplars are added to it and removed", async () => {
  const frames = await Promise.all(Array.from({ length: 7 }, () => drawFrame()));
  const asked = await drawFrame();
  const scoreOf = async (inspector: Inspector) => {
    const { score, bankZ, regions } = (await inspector.inspect(asked)).inspection;
    return { score, bankZ, regions };
  };
  let [file, six, seven]: [Uint8Array, unknown, unknown] = [new Uint8Array(), null, null];
  await withInspector(async (inspector) => {
    await assert.rejects(inspector.saveBank(), failure("nothing-taught", /teach good frames/));
    await inspector.teach(good(frames.slice(0, 6)));
    [file, six] = [await inspector.saveBank(), await scoreOf(inspector)];
    await inspector.teach(good(frames));
    seven = await scoreOf(inspector);
    assert.notDeepEqual(seven, six);
  });
  await withInspector(async (inspector) => {
    const { lessons, taught } = await inspector.loadBank(file);
    assert.deepEqual([lessons.length, taught.references], [6, 6]);
    assert.deepEqual(await scoreOf(inspector), six);
    assert.equal((await inspector.teach(good(frames))).references, 7);
    assert.deepEqual(await scoreOf(inspector), seven);
    await inspector.teach(good(frames.slice(0, 6)));
    assert.deepEqual(await scoreOf(inspector), six, "and removed again");
  });
});

test("a memory bank that is cut, changed, or of another bundle is refused, and what was taught before stays", async () => {
  const frames = good(await Promise.all(Array.from({ length: 3 }, () => drawFrame())));
  await withInspector(async (inspector) => {
    await inspector.teach(frames);
    const file = await inspector.saveBank();
    const other = Uint8Array.from(file);
    other[other.length >> 1] = (other[other.length >> 1] as number) ^ 1;
    for (const bytes of [new Uint8Array(), file.subarray(0, file.length - 5), file.subarray(0, 20), other, Buffer.from("no bank")]) {
      await assert.rejects(inspector.loadBank(bytes), failure("bank-broken", /taught anew/));
    }
    const { inspection } = await inspector.inspect(frames[0]?.frame as Uint8Array);
    assert.notEqual(inspection.bankZ, null);
    const dir = join(folder, "other-words");
    await cp(bundleDir, dir, { recursive: true });
    const prompts = JSON.parse(await readFile(join(dir, "prompts.json"), "utf8")) as { good: string[] };
    await writeFile(join(dir, "prompts.json"), JSON.stringify({ ...prompts, good: ["straight stripes"] }));
    await withInspector(
      async (stranger) => {
        await assert.rejects(stranger.loadBank(file), failure("bank-foreign", /other words/));
        assert.equal((await stranger.inspect(frames[0]?.frame as Uint8Array)).inspection.bankZ, null);
      },
      { bundleDir: dir },
    );
  });
});

test("a frame that is no picture fails alone: the next one is inspected", async () => {
  await withInspector(async (inspector) => {
    const frame = await drawFrame();
    for (const bytes of [new Uint8Array(), Buffer.from("no picture"), frame.subarray(0, frame.length / 2)]) {
      await assert.rejects(inspector.inspect(bytes), failure("image-unreadable", /./));
    }
    await assert.rejects(inspector.teach(good([frame, Buffer.from("no picture")])), failure("image-unreadable", /./));
    assert.equal((await inspector.inspect(frame)).inspection.bankZ, null, "half a teaching changed nothing");
  });
});

test("answers come to those who asked, however many ask at once", async () => {
  await withInspector(async (inspector) => {
    const frames = await Promise.all([drawFrame(), drawFrame({ flat: 20 }), drawFrame({ flat: 240 })]);
    const alone: number[] = [];
    for (const frame of frames) alone.push((await inspector.inspect(frame)).inspection.score);
    const together = await Promise.all([...frames, ...frames].map((frame) => inspector.inspect(frame)));
    assert.deepEqual(
      together.map(({ inspection }) => inspection.score),
      [...alone, ...alone],
    );
  });
});

test("a worker killed in mid-inspection fails what it had in hand with one clear error each, and all that comes after", async () => {
  const inspector = await startInspector({ bundleDir, threads: 1 });
  const frame = await drawFrame();
  process.kill(inspector.pid, "SIGSTOP"); // so that the frames are surely in hand
  const inHand = [inspector.inspect(frame), inspector.inspect(frame, { map: true }), inspector.teach(good([frame, frame]))];
  const settled = Promise.allSettled(inHand);
  process.kill(inspector.pid, "SIGKILL");
  for (const result of await settled) {
    assert.equal(result.status, "rejected");
    failure("inspector-failed", /^the inspector process ended/)(result.reason);
  }
  await inspector.ended;
  await assert.rejects(inspector.inspect(frame), failure("inspector-failed", /not running/));
  await inspector.close();
});

test("a worker that hangs is ended once its time is up", async () => {
  const inspector = await startInspector({ bundleDir, threads: 1, timeoutMs: 3000 });
  const frame = await drawFrame();
  process.kill(inspector.pid, "SIGSTOP");
  await assert.rejects(inspector.inspect(frame), failure("inspector-failed", /did not answer within 3 s/));
  await inspector.ended;
  await inspector.close();
});

test("a closed inspector's process is gone, and closing twice is no error", async () => {
  const inspector = await startInspector({ bundleDir, threads: 1 });
  await inspector.close();
  assert.throws(() => process.kill(inspector.pid, 0), { code: "ESRCH" });
  await inspector.close();
});

test("a model that was cut off, or is none, is refused by its name, and so is a bundle without its files", async () => {
  const spoilt = async (change: (dir: string) => Promise<unknown>, code: string, message: RegExp) => {
    const dir = join(folder, crypto.randomUUID());
    await cp(bundleDir, dir, { recursive: true });
    await change(dir);
    await assert.rejects(startInspector({ bundleDir: dir, threads: 1 }), failure(code, message));
  };
  const whole = (await readFile(join(bundleDir, "vision.onnx"))).length;
  for (const share of [0, 0.95]) {
    await spoilt((dir) => truncate(join(dir, "vision.onnx"), Math.floor(whole * share)), "model-unreadable", /^vision\.onnx is no model/);
  }
  const newer = async (dir: string) => {
    const bytes = await readFile(join(dir, "vision.onnx"));
    assert.equal(bytes[0], 8); // the field of the file's IR version
    bytes[1] = 99;
    await writeFile(join(dir, "vision.onnx"), bytes);
  };
  await spoilt(newer, "runtime-too-old", /^vision\.onnx was made for a newer onnxruntime than this one \(1\.[\d.]+\); install a newer one/);
  await spoilt((dir) => writeFile(join(dir, "nearest.onnx"), "no model"), "model-unreadable", /^nearest\.onnx is no model/);
  await spoilt((dir) => rm(join(dir, "vision.onnx")), "model-unreadable", /vision\.onnx/);
  await spoilt((dir) => rm(join(dir, "prompts.json")), "inspector-failed", /prompts\.json/);
  await spoilt((dir) => writeFile(join(dir, "prompts.json"), "{}"), "invalid-input", /^prompts\.json/);
  await spoilt((dir) => writeFile(join(dir, "manifest.json"), "{"), "inspector-failed", /JSON/);
});

test("messages come whole however the pipe cuts them, and a length past the limit is refused", () => {
  const messages: Message[] = [
    { header: { id: 1, op: "inspect" }, body: Uint8Array.of(1, 2, 3) },
    { header: { id: 2 }, body: new Uint8Array() },
    { header: { id: 3, text: "検品" }, body: new Uint8Array(5000).fill(7) },
  ];
  const bytes = Buffer.concat(messages.map(encodeMessage));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 30 }), (cuts) => {
      const got: Message[] = [];
      const read = messageReader((message) => got.push(message));
      const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      for (let i = 1; i < places.length; i++) read(bytes.subarray(places[i - 1], places[i]));
      assert.deepEqual(
        got.map(({ header, body }) => ({ header, body: new Uint8Array(body) })),
        messages,
      );
    }),
  );
  const read = messageReader(() => assert.fail("there is no message in it"));
  assert.throws(() => read(Buffer.from("A line that a library printed to stdout")), { code: "inspector-garbage" });
});
