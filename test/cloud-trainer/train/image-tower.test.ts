/**
 * The image tower's gradients against PyTorch's in float64 on the same weights (test/fixtures/train/make_blocks.py): blocks
 * with rotary positions, sub-norms and SwiGLU, patch dropout with the patches that stay given, and masked patches.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type ModelConfig, parseModelConfig } from "@kenpin/clip";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { CASES, cosine, runTowers, sampled } from "./tower-run.ts";

type Golden = {
  config: ModelConfig;
  cases: ({ name: string; gradients: Record<string, { norm: number; sample: number[] }> } & Record<string, number[]>)[];
};
const FIXTURES = join(import.meta.dirname, "../../fixtures/train");
const golden = JSON.parse(readFileSync(join(FIXTURES, "blocks.json"), "utf8")) as Golden;
const config = parseModelConfig(golden.config, "golden blocks");
const { tf } = await loadBackend();

for (const [i, expected] of golden.cases.entries()) {
  test(`with ${expected.name}, embeddings and every weight's gradient are PyTorch's`, (t) => {
    const { embeds, gradients } = runTowers(tf, config, CASES[i] ?? {});
    for (const [name, embed] of Object.entries(embeds)) {
      const numbers = expected[name as keyof typeof embeds] as number[];
      assert.equal(embed.length, numbers.length);
      const off = embed.reduce((most, value, j) => Math.max(most, Math.abs(value - (numbers[j] as number))), 0);
      assert.ok(off < 2e-6, `${name} is off by ${off}`);
    }
    const cosines = Object.entries(expected.gradients).map(([name, { norm, sample }]) => {
      const gradient = gradients.get(name) as Float32Array;
      assert.ok(gradient, `${name} has a gradient`);
      assert.ok(Math.abs(Math.hypot(...gradient) / norm - 1) < 1e-4, `${name}: norm ${Math.hypot(...gradient)}, expected ${norm}`);
      return { name, cosine: cosine(sampled(name, gradient), sample) };
    });
    report(t, cosines);
  });
}

const python = process.env["KENPIN_PYTHON"];
test("every number of every gradient of the base model agrees with PyTorch's", { skip: !python && "set KENPIN_PYTHON to run it" }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), "kenpin-blocks-"));
  try {
    const file = join(import.meta.dirname, "../../../cloud-trainer/base/config.json");
    const base = parseModelConfig(JSON.parse(readFileSync(file, "utf8")), "base");
    const out = join(folder, "gradients.bin");
    const names = JSON.parse(execFileSync(python as string, [join(FIXTURES, "make_blocks.py"), "--full", file, out], { encoding: "utf8" }));
    const bytes = readFileSync(out);
    const numbers = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    let at = 0;
    for (const [i, told] of (names as string[][]).entries()) {
      const { gradients } = runTowers(tf, base, CASES[i] ?? {});
      const cosines = told.map((name) => {
        const gradient = gradients.get(name) as Float32Array;
        const expected = numbers.subarray(at, at + gradient.length);
        at += gradient.length;
        return { name, cosine: cosine(gradient, expected) };
      });
      report(t, cosines);
    }
    assert.equal(at, numbers.length);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function report(t: { diagnostic: (message: string) => void }, cosines: { name: string; cosine: number }[]): void {
  const low = cosines.filter(({ cosine: value }) => !(value >= 0.9999));
  assert.deepEqual(low, []);
  const worst = cosines.reduce((a, b) => (b.cosine < a.cosine ? b : a));
  t.diagnostic(`${cosines.length} gradients; least cosine ${worst.cosine} (${worst.name})`);
}
