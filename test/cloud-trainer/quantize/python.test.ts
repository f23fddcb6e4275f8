/**
 * Graphs in fewer bits before the onnx package's full checker and onnxruntime in Python, as the float graphs are: standard
 * operators only where TensorRT is meant, one free dimension, every shape known. Needs KENPIN_PYTHON, see
 * test/cloud-trainer/import/python.test.ts.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type Scheme, textModel, visionModel } from "@kenpin/onnx";
import { InferenceSession, type Tensor } from "onnxruntime-node";
import { textFeeds, textPlan, visionFeeds, visionPlan } from "../../onnx/planned.ts";
import { seededTensors } from "../../onnx/seeded-weights.ts";
import { agreement, goldenTowers, inFolder } from "../import/seeded-checkpoint.ts";

type Verdict = Record<"domains" | "banned" | "free" | "unknown" | "operators" | "outputs", string[]> & { opset: Record<string, number> };

const PYTHON = process.env["KENPIN_PYTHON"];
const SCRIPT = join(import.meta.dirname, "../../fixtures/clip/check_onnx.py");
const skip = PYTHON ? false : "KENPIN_PYTHON names no interpreter";

for (const scheme of ["int8-dynamic", "int8-static", "qdq", "fp16"] satisfies Scheme[]) {
  test(`the onnx package's full checker passes every ${scheme} graph, and Python's onnxruntime gives the same outputs`, {
    skip,
  }, async () => {
    await inFolder(async (dir) => {
      const standard = scheme === "qdq" || scheme === "fp16";
      const flavour = standard ? "portable" : "ort";
      const requests = [];
      for (const { config } of goldenTowers) {
        const weights = seededTensors(config);
        const vision = visionModel({ config, flavour, layers: [0], plan: await visionPlan(config, scheme) }).encode(weights);
        const text = textModel({ config, flavour, plan: await textPlan(config, scheme) }).encode(weights);
        requests.push(await requestOf(dir, `${config.name}-vision`, vision, visionFeeds(config), standard));
        requests.push(await requestOf(dir, `${config.name}-text`, text, textFeeds(config), standard));
      }
      await writeFile(join(dir, "request.json"), JSON.stringify(requests.map(({ feeds: _, ...request }) => request)));
      const ran = spawnSync(PYTHON as string, ["-W", "ignore", SCRIPT, join(dir, "request.json")], { encoding: "utf8" });
      assert.equal(ran.status, 0, ran.stderr);
      for (const [i, line] of ran.stdout.trim().split("\n").entries()) {
        const verdict = JSON.parse(line) as Verdict;
        const { file, out, feeds } = requests[i] as (typeof requests)[0];
        assert.deepEqual([verdict.banned, verdict.free, verdict.unknown], [[], ["n"], []], file);
        if (standard) assert.deepEqual([verdict.domains, verdict.opset], [[""], { "": 17 }], file);
        if (scheme === "qdq")
          assert.ok(verdict.operators.includes("QuantizeLinear") && verdict.operators.includes("DequantizeLinear"), file);
        await assertSame(file, out, feeds, verdict.outputs);
      }
    });
  });
}

test("graphs for TensorRT have signed codes around 0, one scale an activation and one an output channel of each weight", {
  skip,
}, async () => {
  await inFolder(async (dir) => {
    const files: string[] = [];
    for (const { config } of goldenTowers) {
      const weights = seededTensors(config);
      const graphs = {
        vision: visionModel({ config, plan: await visionPlan(config, "qdq") }),
        text: textModel({ config, plan: await textPlan(config, "qdq") }),
      };
      for (const [tower, graph] of Object.entries(graphs)) {
        const file = join(dir, `${config.name}-${tower}.onnx`);
        await writeFile(file, graph.encode(weights));
        files.push(file);
      }
    }
    const ran = spawnSync(PYTHON as string, [join(import.meta.dirname, "check_qdq.py"), ...files], { encoding: "utf8" });
    assert.equal(ran.status, 0, ran.stderr);
    for (const line of ran.stdout.trim().split("\n")) {
      const { file, activations, weights, wrong } = JSON.parse(line) as {
        file: string;
        activations: number;
        weights: number;
        wrong: string[];
      };
      assert.deepEqual(wrong, [], file);
      assert.ok(activations >= 8 && weights >= 8, `${file}: ${activations} activations, ${weights} weights`);
    }
  });
});

async function requestOf(dir: string, name: string, graph: Uint8Array, feeds: Record<string, Tensor>, portable: boolean) {
  const file = join(dir, `${name}.onnx`);
  await writeFile(file, graph);
  const inputs: Record<string, { file: string; type: string; dims: readonly number[] }> = {};
  for (const [input, { data, type, dims }] of Object.entries(feeds)) {
    const { buffer, byteOffset, byteLength } = data as Float32Array;
    await writeFile(join(dir, `${name}-${input}`), new Uint8Array(buffer, byteOffset, byteLength));
    inputs[input] = { file: join(dir, `${name}-${input}`), type, dims };
  }
  return { file, portable, inputs, out: join(dir, `${name}-out`), feeds };
}

async function assertSame(file: string, out: string, feeds: Record<string, Tensor>, outputs: string[]): Promise<void> {
  const session = await InferenceSession.create(file);
  const ours = await session.run(feeds);
  await session.release();
  for (const name of outputs) {
    const theirs = new Float32Array(new Uint8Array(await readFile(join(out, name))).buffer);
    const { data, dims } = ours[name] as Tensor;
    const { cosine } = agreement(data as Float32Array, theirs, dims.at(-1) as number);
    // Another version of the runtime may round a code the other way.
    assert.ok(cosine >= 0.9995, `${file} ${name}: cosine ${cosine}`);
  }
}
