/** Training is played again bit for bit: the same start, the same batches and two threads give the same weights. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { TRAINER_ENVIRONMENT } from "../../../cloud-trainer/src/train/trainer-environment.ts";

const run = promisify(execFile);

test("twenty steps in two processes with two threads each end with the same weights, bit for bit", async () => {
  const first = await weightsAfter(1);
  assert.match(first, /^[0-9a-f]{64} true$/);
  assert.equal(await weightsAfter(1), first);
  assert.notEqual(await weightsAfter(2), first, "other batches end elsewhere");
});

async function weightsAfter(seed: number): Promise<string> {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning", join(import.meta.dirname, "twenty-steps.ts")];
  const env = { ...process.env, ...TRAINER_ENVIRONMENT, TF_NUM_INTRAOP_THREADS: "2" };
  return (await run(process.execPath, [...flags, String(seed)], { env })).stdout.trim();
}
