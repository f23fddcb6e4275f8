/** The whole story on a real Mosquitto, run as a user runs it: one command, and its last line is the summary. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { startMosquitto, withoutMosquitto } from "../support/mosquitto.ts";

const ROOT = resolve(import.meta.dirname, "../..");

test("the loop goes round once on Mosquitto: no frame is lost and the retrained model inspects well", {
  skip: withoutMosquitto,
}, async () => {
  const broker = await startMosquitto();
  try {
    const { code, stdout, stderr } = await play(["--once", "--port", "0", "--broker", broker.url]);
    assert.equal(code, 0, stderr.slice(-2000));
    const summary = JSON.parse(stdout.trim().split("\n").at(-1) as string);
    assert.equal(summary.lost, 0);
    assert.equal(summary.received, summary.frames);
    assert.equal(summary.duplicates, 0);
    assert.ok(summary.quality.retrained.auroc.value >= 0.9, `retrained AUROC ${summary.quality.retrained.auroc.value}`);
    assert.ok(summary.quality.retrained.auroc.value >= summary.quality.fewShot.auroc.value - 0.01, JSON.stringify(summary.quality));
    assert.notEqual(summary.bundles.before.digest, summary.bundles.after.digest);
    assert.equal(summary.training.backend, "tfjs-node");
    assert.deepEqual(
      summary.training.stages.map(({ stage }: { stage: string }) => stage),
      ["pretrain", "train", "tune", "distill"],
    );
    assert.deepEqual(summary.absent, []);
    assert.ok(summary.training.int8.shipped || summary.training.int8.shortfalls.length > 0);
    assert.ok(summary.samples.random > 0, "no randomly drawn sample, so nothing could be evaluated honestly");
  } finally {
    await broker.stop();
  }
});

async function play(args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const child = spawn(process.execPath, [...flags, join(ROOT, "packages/playground/src/main.ts"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const code = await new Promise<number | null>((done) => child.on("close", done));
  return { code, stdout, stderr };
}
