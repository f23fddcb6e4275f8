/**
 * Damaged checkpoints, in a process of their own. KENPIN_MUTATIONS sets how many.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

const COUNT = Number(process.env["KENPIN_MUTATIONS"] ?? 10_000);
/** An empty Node process takes about 60 MB. */
const MEMORY_CAP_MB = 300;

test(`${COUNT} checkpoints with damaged headers each open or are refused with one line, within ${MEMORY_CAP_MB} MB`, () => {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning", "--max-old-space-size=128"];
  const script = join(import.meta.dirname, "mutated-checkpoints.ts");
  const child = spawnSync(process.execPath, [...flags, script, String(COUNT), "7"], { encoding: "utf8", timeout: 120_000 });
  assert.equal(child.status, 0, child.stderr || `ended by ${child.signal}`);
  const { outcomes, peakMb } = JSON.parse(child.stdout) as { outcomes: Record<string, number>; peakMb: number };
  assert.ok(peakMb < MEMORY_CAP_MB, `${peakMb} MB`);
  assert.ok((outcomes["checkpoint-broken"] ?? 0) > COUNT / 3, "too few were refused for the damage to be real");
  assert.ok((outcomes["checkpoint-unsafe"] ?? 0) > 0, "none asked for a strange function");
});
