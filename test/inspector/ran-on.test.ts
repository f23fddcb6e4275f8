/** Which provider really ran a model: from the runtimes' own profiles, and from one of a GPU that leaves a part to the CPU. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { nearestGraph } from "@kenpin/onnx";
import { startPythonRuntime } from "../../packages/inspector/src/python-runtime.ts";
import { ranOn } from "../../packages/inspector/src/ran-on.ts";
import type { Runtime } from "../../packages/inspector/src/runtime.ts";
import { nodeRuntime } from "../../packages/inspector/src/session.ts";

const python = process.env["KENPIN_PYTHON"];

test("Node's runtime says by its profile that the CPU ran it all, and nothing without one", () => profiles(nodeRuntime));

test("so does Python's", { skip: python ? false : "KENPIN_PYTHON names no Python with onnxruntime" }, async () => {
  const runtime = await startPythonRuntime(python as string, () => undefined);
  try {
    await profiles(runtime);
  } finally {
    process.kill(runtime.pid as number, "SIGKILL");
  }
});

test("shares are of the nodes' time; other events and unknown providers count for nothing", () => {
  const node = (provider: string, dur: number) => ({ cat: "Node", name: "MatMul_kernel_time", dur, args: { provider } });
  const events = [
    { cat: "Session", name: "model_loading", dur: 9999, args: {} },
    { cat: "Node", name: "MatMul_fence_before", dur: 9999, args: { provider: "CPUExecutionProvider" } },
    node("TensorrtExecutionProvider", 600),
    node("CUDAExecutionProvider", 300),
    node("CPUExecutionProvider", 100),
    node("AbacusExecutionProvider", 9999),
    "no event",
  ];
  assert.deepEqual(ranOn(events), { tensorrt: 0.6, cuda: 0.3, cpu: 0.1 });
  assert.deepEqual(ranOn([]), {});
});

async function profiles(runtime: Runtime): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-ran-"));
  try {
    const model = join(dir, "model.onnx");
    await writeFile(model, nearestGraph(2));
    const row = { data: Float32Array.of(1, 0, 0, 1), dims: [2, 2] };
    for (const profile of [true, false]) {
      const opened = await runtime.open(model, "cpu", { profile });
      const out = await opened.run({ tokens: row, bank: row });
      assert.deepEqual([...(out["distance"] as Float32Array)], [0, 0]);
      assert.deepEqual(await opened.release(), profile ? { cpu: 1 } : {});
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
