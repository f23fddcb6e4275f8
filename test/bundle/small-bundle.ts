/** A signed bundle of a few small files, whose contents nobody opens: what is tested is what may be unpacked at all. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKey, type PackOptions, packBundle, publicKey, signKeyList, unpackBundle } from "@kenpin/bundle";

export const NOW = new Date("2030-01-01T00:00:00Z");
export const FILES: ReadonlyMap<string, Uint8Array> = new Map([
  ["golden/1.png", bytes(700, 1)],
  ["prompts.json", new TextEncoder().encode('{"good":["even"],"bad":["torn"]}')],
  ["vision.onnx", bytes(3000, 2)],
]);

const MANIFEST: PackOptions["manifest"] = {
  format: 1,
  name: "small",
  release: 5,
  createdAt: "2029-12-01T00:00:00Z",
  expiresAt: "2030-12-01T00:00:00Z",
  minAgentVersion: "1.10.0",
  precision: "fp32",
  preprocess: { tilePx: 32, overlapPx: 8, maxTiles: 9, mean: [0, 0, 0], std: [1, 1, 1] },
  scoring: {
    topRatio: 0.1,
    imageWeight: 0,
    textScale: 1,
    textBias: 0,
    bankWeight: 0.5,
    bankScale: 1,
    bankCut: 3,
    recentreText: false,
    tokenWindow: 1,
    patches: { textScale: 1, textBias: 0, referenceScale: 1, referenceCut: 2 },
  },
  parameters: 1,
  golden: [{ file: "golden/1.png", score: 0.5, tolerance: 0.01 }],
  lineage: { run: "none", parent: null, data: [], recipe: "0".repeat(64) },
  provenance: [{ name: "none", licence: "Apache-2.0", source: "drawn in the test" }],
};

export async function createSite() {
  const [root, signing] = [await createKey("root"), await createKey("signing-1")];
  const keyList = (x = publicKey(signing), notAfter = "2031-01-01T00:00:00Z") =>
    signKeyList(root, { issuedAt: "2029-01-01T00:00:00Z", keys: [{ keyId: "signing-1", x, notAfter }] });
  return { root, signing, rootKey: publicKey(root), keysJws: await keyList(), keyList };
}
export type Site = Awaited<ReturnType<typeof createSite>>;

/** A folder with nothing in it but a tar; `unpack` says what became of it and what lies beside it afterwards. */
export async function openYard(site: Site) {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-yard-"));
  const tar = join(folder, "in.kenpin");
  const outDir = join(folder, "bundle");
  return {
    folder,
    outDir,
    pack: async (
      changes: Partial<PackOptions["manifest"]> = {},
      parts: Partial<Pick<PackOptions, "keysJws" | "signingKey" | "files">> = {},
    ) => {
      const { keysJws, signing } = site;
      await packBundle({ manifest: { ...MANIFEST, ...changes }, files: FILES, keysJws, signingKey: signing, out: tar, ...parts });
      return readFile(tar);
    },
    unpack: async (data: Uint8Array, changes: Partial<Parameters<typeof unpackBundle>[0]> = {}) => {
      await writeFile(tar, data);
      const options = { tar, outDir, rootKey: site.rootKey, now: NOW, newestRelease: 5, agentVersion: "1.10.0", ...changes };
      return unpackBundle(options);
    },
    /** Every file but the tar, by its path within the folder. */
    found: async () => {
      const names = await readdir(folder, { recursive: true, withFileTypes: true });
      return names
        .filter((entry) => entry.name !== "in.kenpin")
        .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
        .sort();
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

/** A row of bytes that repeats nowhere near. */
function bytes(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (Math.imul(i + 1, 2654435761 + seed * 2) >>> 13) & 255);
}
