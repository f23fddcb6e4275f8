/**
 * A small signed bundle for tests: seeded random weights, two words, two golden frames scored by the real inspector.
 * Made once a test process and kept in a temporary folder; variants (other release, other signer, other golden scores) are
 * packed from the same files. Frames are drawn, not shipped: stripes with seeded noise, as JPEG.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createKey, type PrivateKey, packBundle, publicKey, sha256, signKeyList } from "@kenpin/bundle";
import { type ModelConfig, modelConfig } from "@kenpin/clip";
import { startInspector } from "@kenpin/inspector";
import { nearestGraph, visionGraph } from "@kenpin/onnx";
import type { BundleManifest, PromptSet, Thresholds } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import sharp from "sharp";
import { draw, seededTensors } from "../onnx/seeded-weights.ts";

export type Signer = { root: PrivateKey; signing: PrivateKey; rootKey: string; keysJws: string };
export type TestBundle = { file: string; digest: string; bytes: number; manifest: BundleManifest; signer: Signer };
export type Variant = {
  release?: number;
  signer?: Signer;
  thresholds?: Partial<Thresholds>;
  /** Added to every golden score, so that a bundle cannot prove itself. */
  goldenOff?: number;
  /** A vision.onnx that is properly signed and opens nowhere. */
  brokenModel?: boolean;
  /** The same model with a remark in its file: whatever is kept by a model's digest knows nothing of it. */
  otherDigest?: boolean;
  expiresAt?: string;
};

type Made = { files: Map<string, Uint8Array>; golden: BundleManifest["golden"]; signer: Signer };

const LAYERS = [1];
const FRAME_PX = 48;
/** ModelProto's field 6, doc_string, of two letters. */
const REMARK = Buffer.from([0x32, 2, 0x68, 0x69]);
const folder = mkdtempSync(join(tmpdir(), "kenpin-test-bundle-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
const random = createRandom(11);
let made: Promise<Made> | null = null;
let packed = 0;

/** The bundle's own files are made once; each call signs and packs them anew. */
export async function testBundle(variant: Variant = {}): Promise<TestBundle> {
  made ??= makeFiles();
  const { files, golden, signer: own } = await made;
  const signer = variant.signer ?? own;
  const contents = new Map(files);
  if (variant.thresholds) contents.set("thresholds.json", json({ ...THRESHOLDS, ...variant.thresholds }));
  if (variant.brokenModel) contents.set("vision.onnx", (files.get("vision.onnx") as Uint8Array).subarray(0, 1000));
  if (variant.otherDigest) contents.set("vision.onnx", Buffer.concat([files.get("vision.onnx") as Uint8Array, REMARK]));
  const manifest = manifestOf(golden.map((one) => ({ ...one, score: clamp(one.score + (variant.goldenOff ?? 0)) })));
  const out = join(folder, `${++packed}.kenpin`);
  const { release = 1, expiresAt = manifest.expiresAt } = variant;
  const result = await packBundle({
    manifest: { ...manifest, release, expiresAt },
    files: contents,
    keysJws: signer.keysJws,
    signingKey: signer.signing,
    out,
  });
  return { ...result, file: out, signer };
}

export async function createSigner(): Promise<Signer> {
  const [root, signing] = [await createKey("root"), await createKey("signing-1")];
  const notAfter = new Date(Date.now() + 86_400_000).toISOString();
  const keysJws = await signKeyList(root, {
    issuedAt: new Date().toISOString(),
    keys: [{ keyId: "signing-1", x: publicKey(signing), notAfter }],
  });
  return { root, signing, rootKey: publicKey(root), keysJws };
}

/** A frame nobody has seen: stripes and noise. */
export async function drawFrame({ flat, type = "jpeg" }: { flat?: number; type?: "jpeg" | "png" } = {}): Promise<Uint8Array> {
  const pixels = Buffer.alloc(FRAME_PX * FRAME_PX * 3);
  const phase = random.next() * 6;
  for (let i = 0; i < pixels.length; i++) {
    const x = Math.floor(i / 3) % FRAME_PX;
    pixels[i] = flat ?? 120 + 60 * Math.sin(x / 2 + phase) + random.between(-40, 40);
  }
  const image = sharp(pixels, { raw: { width: FRAME_PX, height: FRAME_PX, channels: 3 } });
  return new Uint8Array(await (type === "jpeg" ? image.jpeg({ quality: 95 }) : image.png()).toBuffer());
}

const config: ModelConfig = (() => {
  const base = modelConfig("kenpin-s-8");
  return { ...base, embedDim: 16, image: { ...base.image, size: 32, width: 32, depth: 2, headDim: 16, mlpHidden: 48 } };
})();

const THRESHOLDS: Thresholds = { pass: 0.4, fail: 0.6, cut: 0.5, chosenBy: "a test" };

async function makeFiles(): Promise<Made> {
  const files = new Map<string, Uint8Array>([
    ["vision.onnx", visionGraph({ config, weights: seededTensors(config), layers: LAYERS })],
    ["nearest.onnx", nearestGraph(config.image.width)],
    ["prompts.json", json(prompts())],
    ["thresholds.json", json(THRESHOLDS)],
  ]);
  for (const name of ["golden/1.png", "golden/2.png"]) files.set(name, await drawFrame({ type: "png" }));
  return { files, golden: await scoreGoldens(files), signer: await createSigner() };
}

/** Two directions that the random tower tells apart a little. */
function prompts(): PromptSet {
  const rows = ["good", "bad"].map((word) => normalised(draw(word, config.embedDim)));
  return { schemaVersion: 1, good: ["even stripes"], bad: ["a blot"], dim: config.embedDim, embeddings: rows.flat(), logitScale: 4 };
}

async function scoreGoldens(files: Map<string, Uint8Array>): Promise<BundleManifest["golden"]> {
  const bundleDir = join(folder, "unpacked");
  const listed = Object.fromEntries([...files].map(([name, data]) => [name, { sha256: sha256(data), bytes: data.length }]));
  const placeholder = [{ file: "golden/1.png", score: 0, tolerance: 1 }];
  const all = new Map([...files, ["manifest.json", json({ ...manifestOf(placeholder), keyId: "signing-1", files: listed })] as const]);
  for (const [name, data] of all) {
    await mkdir(dirname(join(bundleDir, name)), { recursive: true });
    await writeFile(join(bundleDir, name), data);
  }
  const inspector = await startInspector({ bundleDir, threads: 1 });
  try {
    const golden: BundleManifest["golden"] = [];
    for (const [file, data] of files) {
      if (!file.startsWith("golden/")) continue;
      golden.push({ file, score: (await inspector.inspect(data)).inspection.score, tolerance: 0.01 });
    }
    return golden;
  } finally {
    await inspector.close();
  }
}

function manifestOf(golden: BundleManifest["golden"]): Omit<BundleManifest, "files" | "keyId"> {
  const { mean, std } = config.preprocess;
  return {
    format: 1,
    name: "test stripes",
    release: 1,
    createdAt: new Date(Date.now() - 60_000).toISOString(),
    expiresAt: new Date(Date.now() + 86_400_000).toISOString(),
    minAgentVersion: "0.1.0",
    precision: "fp32",
    preprocess: { tilePx: config.image.size, overlapPx: 8, maxTiles: 9, mean, std },
    scoring: {
      topRatio: 0.1,
      imageWeight: 0.2,
      textScale: 1,
      textBias: -2.4,
      bankWeight: 0.5,
      bankScale: 1,
      bankCut: 3,
      recentreText: false,
      tokenWindow: 1,
      patches: { textScale: 1, textBias: 0, referenceScale: 1, referenceCut: 2 },
    },
    parameters: 1000,
    golden,
    lineage: { run: "test", parent: null, data: [], recipe: sha256(new Uint8Array()) },
    provenance: [{ name: "weights", licence: "Apache-2.0", source: "drawn in the test" }],
  };
}

function normalised(row: Float64Array): number[] {
  const length = Math.hypot(...row);
  return [...row].map((value) => value / length);
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function clamp(score: number): number {
  return Math.min(1, Math.max(0, score));
}
