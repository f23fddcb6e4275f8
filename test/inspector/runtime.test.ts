/** Models in a Python process: the same scores as in Node's, and one clear line for whatever can be wrong with an interpreter. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Exemplar, startInspector } from "@kenpin/inspector";
import { type GpuFault, pythonWithGpu } from "../support/python-with-gpu.ts";
import { drawFrame } from "../support/test-bundle.ts";
import { unpackedTestBundle } from "../support/unpacked-bundle.ts";
import { shippedFrames, stageShipped } from "./shipped-bundle.ts";

const python = process.env["KENPIN_PYTHON"];
const skip = python ? false : "KENPIN_PYTHON names no Python with onnxruntime";
const AGREEMENT = 1e-4;
const FRAME_PX = 200;

let folder: string;
let bundleDir: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-runtime-"));
  bundleDir = await unpackedTestBundle(join(folder, "bundle"));
});
after(() => rm(folder, { recursive: true, force: true }));

for (const model of ["student", "base"] as const) {
  for (const precision of ["float", "int8"] as const) {
    test(`Node and Python give the same scores and deviations: the shipped ${model} in ${precision}`, { skip }, async (t) => {
      const dir = await stageShipped(model, precision, folder);
      const frames = await shippedFrames(8, FRAME_PX);
      const [node, other] = [await scoresOf({ bundleDir: dir }, frames), await scoresOf({ bundleDir: dir, python }, frames)];
      const apart = node.map((score, i) => Math.abs(score - (other[i] as number)));
      t.diagnostic(`${node.length} scores, at most ${Math.max(...apart).toExponential(1)} apart`);
      assert.ok(Math.max(...apart) <= AGREEMENT, `${node} ${other}`);
    });
  }
}

test("an interpreter that is missing, incomplete, too old or none at all is named in one line that says what to do", async () => {
  const cases: [name: string, python: string, code: string, says: RegExp][] = [
    [
      "missing",
      "/nowhere/python3",
      "python-missing",
      /^the Python interpreter "\/nowhere\/python3" cannot be started \(ENOENT\); install it/,
    ],
    ["talks nonsense", await interpreter("echo 'Python 3.12 on this very nice machine'; cat >/dev/null"), "runtime-failed", /nonsense/],
    [
      "ends",
      await interpreter("echo 'error: no licence on this machine' >&2; exit 3"),
      "runtime-failed",
      /exit code 3\): error: no licence/,
    ],
  ];
  if (python) {
    const old = join(folder, "old");
    await mkdir(old);
    await writeFile(join(old, "onnxruntime.py"), '__version__ = "1.8.1"\n');
    const bare = await interpreter(`exec "${python}" -S "$@"`);
    const outdated = await interpreter(`PYTHONPATH="${old}" exec "${python}" "$@"`);
    cases.push(["bare", bare, "python-incomplete", /cannot load onnxruntime and numpy \(No module named '\w+'\); install both/]);
    cases.push(["old", outdated, "python-too-old", /has onnxruntime 1\.8\.1, [\d.]+ is the least; install a newer one/]);
  }
  for (const [name, interpreterOf, code, says] of cases) {
    await assert.rejects(startInspector({ bundleDir, python: interpreterOf }), (error: Error & { code?: string }) => {
      assert.equal(error.code, code, `${name}: ${error.message}`);
      assert.match(error.message, says, name);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  }
});

test("a Python runtime killed with a frame in hand fails that frame, and its inspector ends to be started again", { skip }, async () => {
  const inspector = await startInspector({ bundleDir, python });
  const child = await runtimeOf(inspector.pid);
  process.kill(child, "SIGSTOP");
  const inHand = assert.rejects(
    inspector.inspect(await drawFrame()),
    /^\w+: the Python runtime .* process ended \(SIGKILL\)|Python runtime/,
  );
  await sleep(200);
  process.kill(child, "SIGKILL");
  await inHand;
  await inspector.ended;
  await assert.rejects(inspector.inspect(await drawFrame()), { code: "inspector-failed", message: /not running .*the Python runtime/ });
});

test("a Python runtime that hangs goes with its inspector once the time is up, and with an inspector that is killed", {
  skip,
}, async () => {
  const hung = await startInspector({ bundleDir, python, timeoutMs: 1500 });
  const stopped = await runtimeOf(hung.pid);
  process.kill(stopped, "SIGSTOP");
  await assert.rejects(hung.inspect(await drawFrame()), { code: "inspector-failed", message: /did not answer within 1.5 s/ });
  await gone(stopped);
  const killed = await startInspector({ bundleDir, python });
  const orphan = await runtimeOf(killed.pid);
  process.kill(killed.pid, "SIGKILL");
  await killed.ended;
  await gone(orphan);
});

test("a model that the Python runtime cannot open, and a frame that it cannot run, fail alone", { skip }, async () => {
  const broken = await unpackedTestBundle(join(folder, "broken"));
  await writeFile(join(broken, "vision.onnx"), "no model");
  await assert.rejects(startInspector({ bundleDir: broken, python }), { code: "model-unreadable", message: /^vision\.onnx is no model/ });
  const inspector = await startInspector({ bundleDir, python, providers: ["tensorrt", "cuda", "cpu"] });
  try {
    assert.equal(inspector.provider, "cpu");
    assert.deepEqual(
      inspector.passedOver.map(({ provider }) => provider),
      ["tensorrt", "cuda"],
    );
    await assert.rejects(inspector.inspect(Buffer.from("no picture")), { code: "image-unreadable" });
    assert.ok(Number.isFinite((await inspector.inspect(await drawFrame())).inspection.score));
  } finally {
    await inspector.close();
  }
});

test("a GPU whose driver crashes, whose libraries are missing, or whose first run fails is passed over with the reason", {
  skip,
}, async () => {
  const faults: [fault: GpuFault, why: RegExp][] = [
    ["crash", /^the Python runtime .* process ended \(SIGSEGV\)/],
    ["away", /libcublasLt\.so\.12: cannot open shared object file$/],
    ["first-run", /^Fail: no kernel image is available for execution on the device$/],
  ];
  for (const [fault, why] of faults) {
    const steps: string[] = [];
    const options = { bundleDir, python: await pythonWithGpu(folder, fault), providers: ["cuda", "cpu"] as const };
    const inspector = await startInspector({ ...options, onStep: ({ provider }) => steps.push(provider) });
    try {
      assert.equal(inspector.provider, "cpu", fault);
      assert.equal(inspector.passedOver.length, 1);
      assert.match(inspector.passedOver[0]?.why ?? "", why);
      assert.deepEqual(steps, ["cuda", "cpu"]);
    } finally {
      await inspector.close();
    }
    await assert.rejects(startInspector({ ...options, providers: ["cuda"] }), /cuda|SIGSEGV/, "with nothing to fall back on");
  }
});

let interpreters = 0;

/** A program in an interpreter's place. */
async function interpreter(script: string): Promise<string> {
  const file = join(folder, `python-${++interpreters}`);
  await writeFile(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return file;
}

async function runtimeOf(pid: number): Promise<number> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).trim().split(" ");
  assert.equal(children.length, 1);
  return Number(children[0]);
}

async function gone(pid: number): Promise<void> {
  for (let waited = 0; ; waited += 50) {
    const state = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
    if (state === null || / Z /.test(state)) return;
    assert.ok(waited < 10_000, "the runtime outlives its inspector");
    await sleep(50);
  }
}

/** By words alone, and taught by good frames. */
async function scoresOf(options: { bundleDir: string; python?: string | undefined }, frames: readonly Uint8Array[]): Promise<number[]> {
  const inspector = await startInspector({ ...options, threads: 2 });
  try {
    assert.equal(inspector.runtime.kind, options.python ? "python" : "node");
    const scores = async () => {
      const all: number[] = [];
      for (const frame of frames) all.push((await inspector.inspect(frame)).inspection.score);
      return all;
    };
    const byWords = await scores();
    await inspector.teach(frames.slice(0, 4).map((frame): Exemplar => ({ frame, label: "good" })));
    return [...byWords, ...(await scores())];
  } finally {
    await inspector.close();
  }
}
