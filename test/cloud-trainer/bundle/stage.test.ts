/** From weights and words to a bundle that proves itself on a device: staged, signed, unpacked, inspected. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { packBundle, unpackBundle } from "@kenpin/bundle";
import { proveGolden, startInspector } from "@kenpin/inspector";
import { PromptSet, Thresholds } from "@kenpin/schema";
import { stageBundle } from "../../../cloud-trainer/src/bundle/stage.ts";
import type { StagedManifest } from "../../../cloud-trainer/src/bundle/staged.ts";
import { goldenPictures } from "../../../cloud-trainer/src/samples/pictures.ts";
import { createSigner } from "../../support/test-bundle.ts";

const BASE = resolve(import.meta.dirname, "../../../cloud-trainer/base");
const WORDS = { good: ["flawless woven fabric", "even cloth"], bad: ["a hole in fabric", "torn cloth", "a stain"] };
const FILES = ["vision.onnx", "nearest.onnx", "prompts.json", "thresholds.json", "card.json"];

let dir: string;
let staged: StagedManifest;
let golden: Awaited<ReturnType<typeof goldenPictures>>;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kenpin-stage-"));
  golden = await goldenPictures(3);
  staged = await stageBundle({ modelDir: BASE, words: WORDS, golden, outDir: join(dir, "staged") });
});
after(() => rm(dir, { recursive: true, force: true }));

const read = (name: string) => readFile(join(dir, "staged", name));

async function filesOf(): Promise<Map<string, Uint8Array>> {
  const names = [...FILES, ...golden.map(({ file }) => file)];
  return new Map(await Promise.all(names.map(async (name) => [name, new Uint8Array(await read(name))] as const)));
}

test("a staged bundle, signed and unpacked on a device, proves itself by its golden scores", async () => {
  const signer = await createSigner();
  const [tar, outDir] = [join(dir, "b.kenpin"), join(dir, "device")];
  const dates = { createdAt: new Date().toISOString(), expiresAt: new Date(Date.now() + 60_000).toISOString() };
  const lineage = { run: "none", parent: null, data: [], recipe: "0".repeat(64) };
  const manifest = { ...staged, ...dates, format: 1 as const, name: "staged", release: 1, lineage };
  await packBundle({ manifest, files: await filesOf(), keysJws: signer.keysJws, signingKey: signer.signing, out: tar });
  const unpacked = await unpackBundle({ tar, outDir, rootKey: signer.rootKey, now: new Date(), newestRelease: 0, agentVersion: "0.1.0" });
  const inspector = await startInspector({ bundleDir: outDir });
  try {
    assert.deepEqual(await proveGolden(inspector, outDir, unpacked.manifest), { ok: true });
    for (const { file, score } of staged.golden) {
      const { inspection } = await inspector.inspect(await readFile(join(outDir, file)));
      assert.ok(Math.abs(inspection.score - score) < 1e-6, `${file}: ${inspection.score}, ${score} when it was staged`);
    }
    const shifted = { ...unpacked.manifest, golden: staged.golden.map((one) => ({ ...one, score: Math.abs(one.score - 0.1) })) };
    const proof = await proveGolden(inspector, outDir, shifted);
    assert.ok(!proof.ok);
    assert.match(proof.reason, /^golden image golden\/good-1\.png scored 0\.\d{4}, expected 0\.\d{4} ± 0\.02$/);
  } finally {
    await inspector.close();
  }
});

test("golden images are two good and two bad surfaces, which the base model tells apart", () => {
  assert.deepEqual(
    staged.golden.map(({ file }) => file),
    ["golden/good-1.png", "golden/bad-2.png", "golden/good-3.png", "golden/bad-4.png"],
  );
  const [good1, bad1, good2, bad2] = staged.golden.map(({ score }) => score) as [number, number, number, number];
  assert.ok(Math.max(good1, good2) < Math.min(bad1, bad2), `${[good1, bad1, good2, bad2]}`);
});

test("prompts are embedded in the order of the words, each of length 1, and thresholds hold together", async () => {
  const prompts = PromptSet.parse(JSON.parse((await read("prompts.json")).toString()));
  assert.deepEqual([prompts.good, prompts.bad], [WORDS.good, WORDS.bad]);
  assert.equal(prompts.embeddings.length, 5 * prompts.dim);
  const row = (i: number) => prompts.embeddings.slice(i * prompts.dim, (i + 1) * prompts.dim);
  for (let i = 0; i < 5; i++) assert.ok(Math.abs(Math.hypot(...row(i)) - 1) < 1e-5);
  const cosine = (i: number, j: number) => row(i).reduce((sum, value, k) => sum + value * (row(j)[k] as number), 0);
  assert.ok(cosine(0, 1) > cosine(0, 2), "good words lie nearer to each other than to a defect");
  const { pass, cut, fail } = Thresholds.parse(JSON.parse((await read("thresholds.json")).toString()));
  assert.ok(pass <= cut && cut <= fail);
});

test("the same model, words and seed give the same bytes and the same manifest", async () => {
  const outDir = join(dir, "again");
  const again = await stageBundle({ modelDir: BASE, words: WORDS, golden: await goldenPictures(3), outDir });
  assert.deepEqual(again, staged);
  for (const [name, data] of await filesOf()) assert.ok(Buffer.from(data).equals(await readFile(join(outDir, name))), name);
  const others = await goldenPictures(4);
  for (const [i, { png }] of others.entries()) assert.notDeepEqual(png, golden[i]?.png);
});

test("the weights' digest stands beside their licence", () => {
  assert.match(staged.provenance[0]?.sha256 ?? "", /^[0-9a-f]{64}$/);
  assert.ok(staged.provenance.every(({ licence, source }) => licence !== "" && source !== ""));
  assert.ok(staged.parameters > 1_000_000);
});
