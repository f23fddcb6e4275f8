/**
 * The base model that comes with kenpin as a signed bundle with its text tower, for tests in which words and pictures must mean
 * something. Its golden images and the frames tests play are those of examples/textile.
 */
import { readFile, readdir } from "node:fs/promises";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { packBundle } from "@kenpin/bundle";
import sharp from "sharp";
import { stageBundle } from "../../cloud-trainer/src/bundle/stage.ts";
import { createSigner, type TestBundle } from "./test-bundle.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const BASE = join(ROOT, "cloud-trainer/base");
const folder = mkdtempSync(join(tmpdir(), "kenpin-base-bundle-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
let packed = 0;

/** Frames of one kind, in the order of their names. */
export async function textile(
  kind: "good" | "local" | "global",
  count: number,
): Promise<{ name: string; file: string; bytes: Uint8Array }[]> {
  const place = join(ROOT, "examples/textile", kind);
  const names = (await readdir(place)).filter((name) => name.endsWith(".jpg")).sort();
  return Promise.all(
    names.slice(0, count).map(async (name) => ({ name, file: join(place, name), bytes: await readFile(join(place, name)) })),
  );
}

/** `modelDir`: another model folder in the base model's place, such as its student's. */
export async function baseBundle({ textTower = true, modelDir = BASE } = {}): Promise<TestBundle> {
  const staged = join(folder, `staged-${++packed}`);
  const golden = await Promise.all(
    (await textile("good", 2)).map(async ({ bytes }, i) => ({
      file: `golden/${i + 1}.png`,
      png: new Uint8Array(await sharp(bytes).png().toBuffer()),
    })),
  );
  const words = { good: ["an even fabric", "a surface without defects"], bad: ["a fabric with a defect", "a damaged surface"] };
  const parts = await stageBundle({ modelDir, words: { ...words, withText: textTower }, golden, outDir: staged });
  const files = new Map<string, Uint8Array>();
  for (const entry of await readdir(staged, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(file.slice(staged.length + 1), await readFile(file));
  }
  const signer = await createSigner();
  const out = join(folder, `${packed}.kenpin`);
  const lineage = { run: "base", parent: null, data: [], recipe: "0".repeat(64) };
  const dates = { createdAt: new Date(Date.now() - 60_000).toISOString(), expiresAt: new Date(Date.now() + 86_400_000).toISOString() };
  const manifest = { ...parts, format: 1 as const, name: "base", release: 1, ...dates, lineage };
  const result = await packBundle({ manifest, files, keysJws: signer.keysJws, signingKey: signer.signing, out });
  return { ...result, file: out, signer };
}
